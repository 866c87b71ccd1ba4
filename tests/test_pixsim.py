"""Heads, losses and the encoder, against the official figures."""

import pytest
import torch
import torchvision

from methods.encoder import build_encoder, channels
from methods.heads import predictor, projector
from methods.pixsim import Branch
from methods.recipe import Heads, Recipe
from methods.similarity import cosine, cross_entropy
from methods.strategies.simsiam import SimSiam
from tests.official import GOLDEN, wave


def test_simsiam_s_loss_is_the_official_one() -> None:
    branch = Branch(SimSiam(), Recipe(encoder="resnet18"), 16)
    p1, p2, z1, z2 = (wave((4, 16), phase)[:, None] for phase in (0, 0.5, 1.1, 1.9))
    one = torch.ones(4, 1, 1)
    loss = (branch.distance(p1, z2, one) + branch.distance(p2, z1, one)) / 2
    assert abs(loss.item() - GOLDEN["P1_simsiam_loss"]["loss"]) < 1e-6


def test_heads_have_the_official_shapes_and_the_frozen_bias() -> None:
    heads = Heads(hidden=None, out=32, predictor=8)
    parts = [*projector(512, heads).parameters(), *predictor(heads).parameters()]
    official = GOLDEN["P1b_simsiam_arch"]["params"]
    assert [[list(part.shape), part.requires_grad] for part in parts] == [entry[1:] for entry in official]


@pytest.mark.parametrize(("prefix", "inputs", "out"), [("", 128, 27), ("kernel_", 128, 128)])
def test_dense_and_region_heads_have_the_official_shapes(prefix: str, inputs: int, out: int) -> None:
    heads = Heads(hidden=128, out=out, predictor=128)
    official = GOLDEN["P9c_seg_model"]["param_shapes"]
    for name, part in (("projector", projector(inputs, heads)), ("predictor", predictor(heads))):
        found = {f"{prefix}{name}.{key}": list(weight.shape) for key, weight in part.named_parameters()}
        wanted = {key: shape[:2] for key, shape in official.items() if key.startswith(f"{prefix}{name}.")}
        found.pop("kernel_projector.6.bias", None)  # frozen, and removed by the BatchNorm after it
        assert found == wanted


def test_simsiam_takes_the_mean_of_the_cells_before_it_embeds() -> None:
    branch = Branch(SimSiam(), Recipe(encoder="resnet18"), 16).eval()
    cells = wave((3, 4, 16), 0.4)
    rows = torch.full((3, 1, 4), 0.25)
    z = branch.head.projector(cells.mean(1))
    torch.testing.assert_close(branch.head(rows @ cells).z[:, 0], z, atol=1e-5, rtol=0)


def test_cross_entropy_is_the_official_one() -> None:
    p, z = wave((2, 5, 3, 3), 0.3), 2 * wave((2, 5, 3, 3), 1.4)
    predicted, target = cross_entropy(p.flatten(2).mT, z.flatten(2).mT)
    found = -(predicted * target).sum(-1)
    torch.testing.assert_close(found.flatten(), torch.tensor(GOLDEN["P9_ce"]["ce_map_flat"]), atol=1e-6, rtol=0)


def test_cosine_of_a_vector_with_itself_is_one() -> None:
    p, z = cosine(wave((1, 6, 5), 0.3), 3 * wave((1, 6, 5), 0.3))
    torch.testing.assert_close((p @ z.mT).diagonal(dim1=1, dim2=2), torch.ones(1, 6))


def test_the_encoder_is_torchvision_s_resnet_under_its_own_names() -> None:
    for name, outputs in (("resnet18", 512), ("resnet50", 2048)):
        network = build_encoder(name, zero_init=False).eval()
        official = getattr(torchvision.models, name)()
        missing, unexpected = official.load_state_dict(network.state_dict(), strict=False)
        assert (missing, unexpected) == (["fc.weight", "fc.bias"], [])
        assert channels(network) == outputs
        official.eval().fc = torch.nn.Identity()
        image, network = wave((1, 3, 64, 64), 0.2), network.to(memory_format=torch.contiguous_format)
        assert torch.equal(network(image).mean((2, 3)), official(image))


@pytest.mark.parametrize("zero_init", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_an_encoder_of_width_64_is_torchvision_s_bit_for_bit(name: str, zero_init: bool) -> None:
    torch.manual_seed(4)
    ours, after = build_encoder(name, zero_init, width=64).state_dict(), torch.rand(1)
    torch.manual_seed(4)
    official, later = getattr(torchvision.models, name)(zero_init_residual=zero_init).state_dict(), torch.rand(1)
    assert all(torch.equal(tensor, official[key]) for key, tensor in ours.items())
    assert torch.equal(after, later)


@pytest.mark.parametrize(("name", "width"), [("resnet18", 16), ("resnet50", 8), ("resnet18", 80)])
def test_an_encoder_of_another_width_is_torchvision_s_in_all_but_its_channels(name: str, width: int) -> None:
    network, official = build_encoder(name, zero_init=True, width=width), getattr(torchvision.models, name)()
    state = official.state_dict()
    assert [*network.state_dict(), "fc.weight", "fc.bias"] == [*state]
    for key, tensor in network.state_dict().items():
        scaled = [size if size < 64 else size * width // 64 for size in state[key].shape]
        assert list(tensor.shape) == scaled
    image = wave((2, 3, 64, 64), 0.2)
    assert network(image).shape == (2, official.fc.in_features * width // 64, 2, 2)
    last = "bn2" if name == "resnet18" else "bn3"
    for key, part in network.named_modules():
        if isinstance(part, torch.nn.Conv2d):
            spread = (2 / (part.out_channels * part.kernel_size[0] ** 2)) ** 0.5  # He et al. 2015, by the outputs
            assert part.weight.numel() < 1000 or part.weight.std().item() == pytest.approx(spread, rel=0.1)
        if isinstance(part, torch.nn.BatchNorm2d):
            assert set(part.weight.tolist()) == {0.0 if key.endswith(last) else 1.0}
