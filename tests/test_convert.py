"""A backbone out of anybody's file and under detectron2's names, no tensor lost or invented: features agree bitwise."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.detection.config import config
from benchmarks.detection.convert import convert, convert_file, load_into, rename
from benchmarks.detection.detector import Detector
from benchmarks.network import network
from benchmarks.voc07_12 import Voc0712
from benchmarks.weights import (
    PIXEL_MEAN,
    PIXEL_STD,
    RESNETS,
    ConvertError,
    names,
    read_backbone,
)
from methods.encoder import resize

# printed by DenseCL's script on a random ResNet-50 (METHODS 13, P11): 318 names, among them
OFFICIAL = {
    "conv1.weight": "stem.conv1.weight",
    "bn1.weight": "stem.conv1.norm.weight",
    "bn1.running_mean": "stem.conv1.norm.running_mean",
    "layer1.0.conv1.weight": "res2.0.conv1.weight",
    "layer1.0.bn3.bias": "res2.0.conv3.norm.bias",
    "layer1.0.downsample.0.weight": "res2.0.shortcut.weight",
    "layer1.0.downsample.1.running_var": "res2.0.shortcut.norm.running_var",
    "layer4.2.conv2.weight": "res5.2.conv2.weight",
}


def resnet(encoder: str, width: int = 64) -> Any:
    """Torchvision's ResNet in eval mode, its norms as if trained."""
    torch.manual_seed(18)
    model = getattr(torchvision.models, encoder)()
    resize(model, width)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    return model.eval()


def headless(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}


def detector(settings: Detector, width: int = 64) -> Any:
    from detectron2.modeling import build_model

    return build_model(config(settings, ["cat", "dog"], seed=0, width=width)).eval()


def test_the_official_names() -> None:
    assert len({rename(name) for name in names("resnet50")}) == 318
    assert {name: rename(name) for name in OFFICIAL} == OFFICIAL


@pytest.mark.parametrize("encoder", RESNETS)
def test_the_names_are_those_of_torchvision(encoder: str) -> None:
    with torch.device("meta"):
        model = getattr(torchvision.models, encoder)()
    assert sorted(names(encoder)) == sorted(headless(model))


SETTINGS = {
    "R18-FPN": Detector(),
    "R18-FPN frozen": Detector(norm="FrozenBN"),
    "R18-FPN freeze 3": Detector(freeze=3),
    "R18-C4": Detector(family="c4"),
    "R34-C4": Detector(encoder="resnet34", family="c4"),
    "R50-FPN": Detector(encoder="resnet50"),
    "R50-C4": Voc0712(),
}


@pytest.mark.parametrize("width", [64, 16])
@pytest.mark.parametrize("name", SETTINGS)
@torch.no_grad()
def test_features_agree_bit_for_bit(name: str, width: int) -> None:
    settings = SETTINGS[name]
    source, model = resnet(settings.encoder, width), detector(settings, width)
    load_into(model, convert(headless(source), encoder=settings.encoder))
    x = torch.randn(2, 3, 64, 96)
    stem = source.maxpool(source.relu(source.bn1(source.conv1(x))))
    res4 = source.layer3(source.layer2(source.layer1(stem)))
    if settings.family == "fpn":
        found = model.backbone.bottom_up(x)
    else:
        blocks = [block for key, block in model.roi_heads.res5.named_children() if key != "norm"]
        found = model.backbone(x)
        found["res5"] = nn.Sequential(*blocks)(found["res4"])
    assert torch.equal(found["res4"], res4)
    assert torch.equal(found["res5"], source.layer4(res4))


def test_pixels_are_normalised_as_torchvision_does() -> None:
    model = detector(Detector())
    image = torch.randint(0, 256, (3, 32, 64))
    found = model.preprocess_image([{"image": image}]).tensor[0]
    weights = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    wanted = torchvision.transforms.functional.normalize(image / 255, weights.mean, weights.std)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
    assert model.input_format == "RGB"
    assert (PIXEL_MEAN[0], PIXEL_STD[2]) == (0.485 * 255, 0.225 * 255)


def drop(state: dict[str, Tensor]) -> None:
    del state["layer2.0.bn1.bias"]


def add(state: dict[str, Tensor]) -> None:
    state["projector.weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, "not a resnet18 without its head: key 'layer2.0.bn1.bias' is missing"),
        (add, "not a resnet18 without its head: key 'projector.weight' is unknown"),
    ],
)
def test_an_odd_key_is_named(spoil: Callable[[dict[str, Tensor]], None], message: str) -> None:
    state = headless(resnet("resnet18"))
    spoil(state)
    with pytest.raises(ConvertError, match=message):
        convert(state, encoder="resnet18")


def test_another_architecture_is_named() -> None:
    with pytest.raises(ConvertError, match="another architecture: resnet50, not resnet18"):
        convert(dict.fromkeys(names("resnet50"), torch.zeros(1)), encoder="resnet18")


def test_another_width_is_named() -> None:
    state = convert(headless(resnet("resnet18")), encoder="resnet18")
    state["res3.0.conv1.weight"] = torch.zeros(256, 64, 3, 3)
    with pytest.raises(ConvertError, match=r"another architecture: 'res3.0.conv1.weight' is .256, 64, 3, 3."):
        load_into(detector(Detector()), state)


def test_every_tensor_has_a_place_and_every_place_a_tensor() -> None:
    model, state = detector(Detector()), convert(headless(resnet("resnet18")), encoder="resnet18")
    with pytest.raises(ConvertError, match=r"'res6.0.conv1.weight' has 0 places"):
        load_into(model, {**state, "res6.0.conv1.weight": torch.zeros(1)})
    del state["res5.1.conv2.norm.running_var"]
    with pytest.raises(ConvertError, match=r"'backbone.bottom_up.res5.1.conv2.norm.running_var' is not"):
        load_into(model, state)


def test_detectrons_own_c4_head_does_not_take_r18() -> None:
    from detectron2.modeling import build_model

    cfg = config(Detector(family="c4"), ["cat"], seed=0)
    cfg.MODEL.ROI_HEADS.NAME = "Res5ROIHeads"
    with pytest.raises(ConvertError):
        load_into(build_model(cfg), convert(headless(resnet("resnet18")), encoder="resnet18"))


def test_the_file_holds_plain_tensors_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    state = headless(resnet("resnet18"))
    torch.save(state, tmp_path / "backbone.pth")
    convert_file(tmp_path / "backbone.pth", tmp_path / "out.pth", encoder="resnet18")
    found = torch.load(tmp_path / "out.pth", weights_only=True)
    assert torch.equal(found["res5.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backbone.pth", "out.pth"]


class Intruder:
    """Unpickled without care, it leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Intruder(tmp_path / "trace")}, tmp_path / "backbone.pth")
    with pytest.raises(ConvertError, match="it holds no tensor"):
        convert_file(tmp_path / "backbone.pth", tmp_path / "out.pth", encoder="resnet18")
    assert not (tmp_path / "trace").exists()


def test_a_file_that_is_no_backbone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pth"
    for spoil in (
        lambda: None,
        lambda: path.write_text("no tensors"),
        lambda: torch.save({"a": Path()}, path),
        lambda: torch.save([1], path),
        lambda: torch.save({"conv1.weight": torch.zeros(1)}, path),
    ):
        spoil()
        with pytest.raises(ConvertError) as error:
            convert_file(path, tmp_path / "out.pth", encoder="resnet18")
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out.pth").exists()


# Files of others

Make = Callable[[dict[str, Tensor]], Any]


def other(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Another network's tensors."""
    return {name: tensor + 1 for name, tensor in state.items()}


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def linear(name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.zeros(2, 3), f"{name}.bias": torch.zeros(2)}


def moco(state: dict[str, Tensor]) -> Any:
    slow = under("module.encoder_k.", {**other(state), **linear("fc.0")})
    fast = under("module.encoder_q.", {**state, **linear("fc.0"), **linear("fc.2")})
    queue = {"module.queue": torch.zeros(3, 4), "module.queue_ptr": torch.zeros(1, dtype=torch.long)}
    return {"epoch": 200, "arch": "resnet18", "state_dict": {**slow, **fast, **queue}, "optimizer": {"state": {}}}


def densecl(state: dict[str, Tensor]) -> Any:
    """Its network has its backbone under two names."""
    named = [under("backbone.", state), under("encoder_q.0.", state), under("encoder_k.0.", other(state))]
    return {"meta": {"epoch": 3}, "state_dict": {k: t for part in named for k, t in part.items()} | linear("neck.fc")}


def pixpro(state: dict[str, Tensor]) -> Any:
    named = under("module.encoder.", state) | under("module.encoder_k.", other(state))
    return {"model": named | under("module.", linear("projector.linear1")), "epoch": 100}


def simsiam(state: dict[str, Tensor]) -> Any:
    return {"state_dict": under("module.encoder.", {**state, **linear("fc.0")}) | linear("module.predictor.0")}


def before_0_4_1(state: dict[str, Tensor]) -> Any:
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def averaged(state: dict[str, Tensor]) -> Any:
    """A slow copy is taken where there is nothing else."""
    return {"state_dict_ema": state, "epoch": 3}


def plain(state: dict[str, Tensor]) -> Any:
    return {**state, **linear("fc")}


FOUND: dict[Make, tuple[str, list[str]]] = {
    plain: ("", ["fc (2)"]),
    moco: ("module.encoder_q.", ["encoder_k (122)", "fc (4)", "queue (1)", "queue_ptr (1)"]),
    densecl: ("backbone.", ["encoder_q (120)", "encoder_k (120)", "neck (2)"]),
    pixpro: ("module.encoder.", ["encoder_k (120)", "projector (2)"]),
    simsiam: ("module.encoder.", ["fc (2)", "predictor (2)"]),
    before_0_4_1: ("", []),
    averaged: ("", []),
}


@pytest.mark.parametrize("make", FOUND)
def test_the_backbone_of_others_is_found(make: Make, tmp_path: Path) -> None:
    state = headless(resnet("resnet18"))
    torch.save(make(state), tmp_path / "theirs.pth.tar")
    found = read_backbone(tmp_path / "theirs.pth.tar", "resnet18")
    assert (found.prefix, found.left_out) == FOUND[make]
    assert sorted(found.state) == sorted(names("resnet18"))
    for name, tensor in found.state.items():
        assert torch.equal(tensor, state[name] * (make is not before_0_4_1 or not name.endswith("_tracked"))), name


def test_safetensors_and_torch_s_older_files_are_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = headless(resnet("resnet18"))
    save_file(under("backbone.", state), tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    assert read_backbone(tmp_path / "a.safetensors", "resnet18").prefix == "backbone."
    for name in ("a.safetensors", "a.pt"):
        found = read_backbone(tmp_path / name, "resnet18").state
        assert all(torch.equal(found[key], tensor) for key, tensor in state.items())


def test_a_backbone_s_numbers_are_float32_and_its_own(tmp_path: Path) -> None:
    model = resnet("resnet18").half().to(memory_format=torch.channels_last)
    torch.save(dict(model.named_parameters()) | dict(model.named_buffers()), tmp_path / "half.pth")
    state = read_backbone(tmp_path / "half.pth", "resnet18").state
    assert {tensor.dtype for tensor in state.values()} == {torch.float32, torch.int64}
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in state.values())
    assert torch.equal(state["layer3.0.conv1.weight"], model.layer3[0].conv1.weight.float())


def squeeze(state: dict[str, Tensor]) -> Any:
    return {**state, **linear("layer1.0.se.fc1")}


def deep_stem(state: dict[str, Tensor]) -> Any:
    state["conv1.0.weight"] = state.pop("conv1.weight")
    return {"model": state}


def wide(state: dict[str, Tensor]) -> Any:
    return {**state, "layer1.0.conv2.weight": torch.zeros(128, 64, 3, 3)}


def one_counter(state: dict[str, Tensor]) -> Any:
    return {**before_0_4_1(state), "bn1.num_batches_tracked": torch.tensor(3)}


def not_finite(state: dict[str, Tensor]) -> Any:
    state["bn1.running_var"][7] = float("nan")
    return state


def too_large(state: dict[str, Tensor]) -> Any:
    return {**state, "bn1.bias": torch.full((64,), 1e300, dtype=torch.float64)}


def integers(state: dict[str, Tensor]) -> Any:
    return {**state, "bn1.bias": torch.ones(64, dtype=torch.int8)}


def without_numbers(state: dict[str, Tensor]) -> Any:
    return {**state, "bn1.bias": torch.ones(64, device="meta")}


def twins(state: dict[str, Tensor]) -> Any:
    return under("left.", state) | under("right.", other(state))


def detectron2s(state: dict[str, Tensor]) -> Any:
    return {"model": convert(state, encoder="resnet18")}


REFUSED: dict[Make, str] = {
    squeeze: "key 'layer1.0.se.fc1.bias' is unknown (0 missing, 2 unknown)",
    deep_stem: "key 'model.conv1.0.weight' is unknown (1 missing, 1 unknown)",
    wide: "another architecture: 'layer1.0.conv2.weight' is [128, 64, 3, 3], torchvision's [64, 64, 3, 3]",
    one_counter: "is missing (19 missing, 0 unknown)",
    not_finite: "'bn1.running_var' holds a number that is not finite",
    too_large: "'bn1.bias' holds a number that is not finite",
    integers: "'bn1.bias' is no tensor of torch.float32, but of torch.int8 on cpu",
    without_numbers: "'bn1.bias' is no tensor of torch.float32, but of torch.float32 on meta",
    twins: "two different ResNets: behind 'left.' and behind 'right.'",
    detectron2s: "no ResNet under torchvision's names: it holds 'model.stem.conv1.weight'",
    str: "no ResNet under torchvision's names: it holds no tensor",
    lambda state: {}: "no ResNet under torchvision's names: it holds no tensor",
    lambda state: {1: torch.zeros(1), 2: {3: torch.zeros(1)}}: "it holds '1', '2.3', but no 'layer1.0.conv1.weight'",
}


@pytest.mark.parametrize("spoil", REFUSED)
def test_what_is_no_such_backbone_is_refused(spoil: Make, tmp_path: Path) -> None:
    torch.save(spoil(headless(resnet("resnet18"))), tmp_path / "theirs.pth")
    with pytest.raises(ConvertError) as error:
        read_backbone(tmp_path / "theirs.pth", "resnet18")
    assert str(error.value).startswith(f"{tmp_path / 'theirs.pth'}: ")
    assert REFUSED[spoil] in str(error.value)
    assert "\n" not in str(error.value)


OTHERS = [("resnet18", "resnet34"), ("resnet34", "resnet18"), ("resnet50", "resnet18"), ("resnet101", "resnet50"),
          ("resnet18", "resnet152")]  # fmt: skip


@pytest.mark.parametrize(("is_", "asked"), OTHERS)
@pytest.mark.parametrize("make", [plain, moco, before_0_4_1])
def test_another_encoder_is_named(is_: str, asked: str, make: Make, tmp_path: Path) -> None:
    state = {name: torch.zeros(()) for name in names(is_)}
    torch.save(make(state), tmp_path / "theirs.pth")
    with pytest.raises(ConvertError, match=f"{is_}, not {asked}: --set encoder={is_}"):
        read_backbone(tmp_path / "theirs.pth", asked)


def by_torch(content: Any, path: Path) -> None:
    torch.save(content, path)


def by_old_torch(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def by_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [by_torch, by_old_torch, by_pickle])
@pytest.mark.parametrize("name", ["a.pth", "a.pkl", "a.safetensors"])
def test_a_hostile_file_runs_nothing(name: str, write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    write({"model": Intruder(tmp_path / "trace")}, tmp_path / name)
    with pytest.raises(ConvertError, match=r"a bare pickle, as detectron2's|it holds no tensor"):
        read_backbone(tmp_path / name, "resnet18")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.pkl", "a.pth", "a.safetensors"])
def test_a_file_is_known_by_its_content(name: str, tmp_path: Path) -> None:
    state = headless(resnet("resnet18"))
    torch.save(state, tmp_path / name)
    assert torch.equal(read_backbone(tmp_path / name, "resnet18").state["bn1.bias"], state["bn1.bias"])
    by_pickle({"model": {}}, tmp_path / name)
    with pytest.raises(ConvertError, match=r"a bare pickle, .* give the .pth or .safetensors that it was made from"):
        read_backbone(tmp_path / name, "resnet18")


@pytest.mark.parametrize("name", ["none.pth", "."])
def test_what_is_no_file_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="no such backbone file"):
        read_backbone(tmp_path / name, "resnet18")


def test_a_backbone_is_of_any_width_unless_one_is_asked_for(tmp_path: Path) -> None:
    torch.save(headless(resnet("resnet18", 24)), tmp_path / "narrow.pth")
    for asked in (None, 24):
        assert read_backbone(tmp_path / "narrow.pth", "resnet18", width=asked).width == 24
    with pytest.raises(ConvertError, match=r"narrow.pth: checkpoint of width 24, not 64: --set width=24"):
        read_backbone(tmp_path / "narrow.pth", "resnet18", width=64)


@torch.no_grad()
def test_a_network_is_built_of_tensors_of_any_width() -> None:
    source = resnet("resnet50", 16)
    source.fc, image = nn.Identity(), torch.randn(2, 3, 64, 64)
    assert torch.equal(network(headless(source), "resnet50").eval()(image), source(image))


def test_an_encoder_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="encoder resnet20: choose from resnet18, resnet34, resnet50, resnet101"):
        read_backbone(tmp_path / "a.pth", "resnet20")
