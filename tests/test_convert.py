"""The same tensors under detectron2's names, none lost and none invented: features agree bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from benchmarks.convert import BLOCKS, ConvertError, convert, convert_file, load_into, names, rename
from benchmarks.detection import MEAN, STD, Detector, config
from benchmarks.voc07_12 import Voc0712

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


def resnet(depth: int) -> Any:
    """Torchvision's ResNet in eval mode, its norms as if trained."""
    torch.manual_seed(depth)
    model = getattr(torchvision.models, f"resnet{depth}")()
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


def detector(settings: Detector) -> Any:
    from detectron2.modeling import build_model

    return build_model(config(settings, ["cat", "dog"], seed=0)).eval()


def test_the_official_names() -> None:
    assert len({rename(name) for name in names(50)}) == 318
    assert {name: rename(name) for name in OFFICIAL} == OFFICIAL


@pytest.mark.parametrize("depth", BLOCKS)
def test_the_names_are_those_of_torchvision(depth: int) -> None:
    with torch.device("meta"):
        model = getattr(torchvision.models, f"resnet{depth}")()
    assert sorted(names(depth)) == sorted(headless(model))


SETTINGS = {
    "R18-FPN": Detector(),
    "R18-FPN frozen": Detector(norm="FrozenBN"),
    "R18-FPN freeze 3": Detector(freeze=3),
    "R18-C4": Detector(family="c4"),
    "R34-C4": Detector(depth=34, family="c4"),
    "R50-FPN": Detector(depth=50),
    "R50-C4": Voc0712(),
}


@pytest.mark.parametrize("name", SETTINGS)
@torch.no_grad()
def test_features_agree_bit_for_bit(name: str) -> None:
    settings = SETTINGS[name]
    source, model = resnet(settings.depth), detector(settings)
    load_into(model, convert(headless(source), depth=settings.depth))
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
    assert (MEAN[0], STD[2]) == (0.485 * 255, 0.225 * 255)


def drop(state: dict[str, Tensor]) -> None:
    del state["layer2.0.bn1.bias"]


def add(state: dict[str, Tensor]) -> None:
    state["projector.weight"] = torch.zeros(1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop, "not a ResNet-18 without its head: key 'layer2.0.bn1.bias' is missing"),
        (add, "not a ResNet-18 without its head: key 'projector.weight' is unknown"),
    ],
)
def test_an_odd_key_is_named(spoil: Callable[[dict[str, Tensor]], None], message: str) -> None:
    state = headless(resnet(18))
    spoil(state)
    with pytest.raises(ConvertError, match=message):
        convert(state, depth=18)


def test_another_architecture_is_named() -> None:
    with pytest.raises(ConvertError, match="another architecture: ResNet-50, not ResNet-18"):
        convert(dict.fromkeys(names(50), torch.zeros(1)), depth=18)


def test_another_width_is_named() -> None:
    state = convert(headless(resnet(18)), depth=18)
    state["res3.0.conv1.weight"] = torch.zeros(256, 64, 3, 3)
    with pytest.raises(ConvertError, match=r"another architecture: 'res3.0.conv1.weight' is .256, 64, 3, 3."):
        load_into(detector(Detector()), state)


def test_every_tensor_has_a_place_and_every_place_a_tensor() -> None:
    model, state = detector(Detector()), convert(headless(resnet(18)), depth=18)
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
        load_into(build_model(cfg), convert(headless(resnet(18)), depth=18))


def test_the_file_holds_plain_tensors_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    state = headless(resnet(18))
    torch.save(state, tmp_path / "backbone.pth")
    convert_file(tmp_path / "backbone.pth", tmp_path / "out.pth", depth=18)
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
    with pytest.raises(ConvertError, match="not a state dict of tensors"):
        convert_file(tmp_path / "backbone.pth", tmp_path / "out.pth", depth=18)
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
            convert_file(path, tmp_path / "out.pth", depth=18)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out.pth").exists()
