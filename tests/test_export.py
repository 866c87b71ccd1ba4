"""Exported weights load where they are meant to, by the lines that are printed, and compute the same bits there."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks.detection.config import config
from benchmarks.detection.detector import Detector
from benchmarks.weights import RESNETS, names
from harness.cli import main
from harness.verbs.export import KINDS
from methods.encoder import build_encoder

RUN = "candidate_regions-s3-90414341"  # as long as our names are
IMAGE = torch.linspace(-2, 2, 3 * 64 * 96).sin().reshape(1, 3, 64, 96)


def train(model: nn.Module) -> nn.Module:
    """The model in eval mode, its norms as if trained, its layout torch's usual one."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
            module.running_mean.uniform_(-0.3, 0.3)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
            module.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    return model.eval().to(memory_format=torch.contiguous_format)


def plant(results: Path, encoder: str, width: int = 64) -> nn.Module:
    """The run RUN with a backbone, which is returned."""
    torch.manual_seed(18)
    folder = results / "runs" / RUN
    folder.mkdir(parents=True)
    model = build_encoder(encoder, zero_init=False, width=width)
    contents: dict[str, Any] = {
        "config": {"strategy": "candidate_regions", "seed": 3, "benchmark": {"encoder": encoder}},
        "run": {"status": "COMPLETED"},
        "provenance": {"command": ["harness", "run", "--seed", "3"], "code": {"commit": "c0ffee", "dirty": False}},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    trained = train(model)
    torch.save(model.to(memory_format=torch.channels_last).state_dict(), folder / "backbone.pth")
    return trained.to(memory_format=torch.contiguous_format)


def by_torchvision(model: Any, **_: Any) -> Tensor:
    stem = model.maxpool(model.relu(model.bn1(model.conv1(IMAGE))))
    found: Tensor = model.layer4(model.layer3(model.layer2(model.layer1(stem))))
    return found


def by_timm(model: Any, **_: Any) -> Tensor:
    found: Tensor = model.forward_features(IMAGE)
    return found


def by_safetensors(model: nn.Module, state: dict[str, Tensor]) -> Tensor:
    model.load_state_dict(state)
    found: Tensor = model.eval()(IMAGE)
    return found


def by_detectron2(cfg: Any, norm: str) -> Tensor:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_backbone

    cfg.MODEL.RESNETS.NORM, cfg.MODEL.RESNETS.OUT_FEATURES = norm, ["res5"]
    model = nn.ModuleDict({"backbone": build_backbone(cfg)})
    DetectionCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    found: Tensor = model["backbone"].eval()(IMAGE)["res5"]
    return found


def features(kind: str, scope: dict[str, Any], encoder: str, width: int) -> list[Tensor]:
    """What the library's model, made by the printed lines, computes of IMAGE; detectron2's with either norm."""
    if kind == "detectron2":
        return [by_detectron2(scope["cfg"], norm) for norm in ("FrozenBN", "BN")]
    if kind == "safetensors":
        blank = build_encoder(encoder, zero_init=False, width=width).to(memory_format=torch.contiguous_format)
        return [by_safetensors(blank, scope["state"])]
    return [(by_timm if kind == "timm" else by_torchvision)(scope["model"].eval())]


@pytest.mark.parametrize(
    ("kind", "encoder", "width"),
    [
        *((kind, encoder, 64) for kind in KINDS for encoder in ("resnet18", "resnet50")),
        *((kind, "resnet18", 16) for kind in KINDS if kind != "detectron2"),
        ("detectron2", "resnet50", 16),
    ],
)
@torch.no_grad()
def test_features_are_ours_bit_for_bit(
    kind: str,
    encoder: str,
    width: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from detectron2.config import get_cfg

    monkeypatch.chdir(tmp_path)
    wanted = plant(tmp_path / "results", encoder, width)(IMAGE)
    assert main(["export", RUN[:5], "--to", kind, "--results", "results"]) == 0
    first, _, lines = capsys.readouterr().out.partition("\n\n")
    file = Path(f"{RUN}-{kind}{KINDS[kind].ending}")
    assert first == f"backbone: {file}"
    assert {path.name for path in tmp_path.iterdir()} == {"results", file.name}
    assert max(map(len, lines.splitlines())) <= 80
    scope: dict[str, Any] = {"cfg": get_cfg()}
    scope["cfg"].MODEL.DEVICE = "cpu"
    exec(lines, scope)
    for found in features(kind, scope, encoder, width):
        assert torch.equal(found, wanted)


def test_a_shallow_resnet_of_another_width_is_not_written_for_detectron2_which_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "results", "resnet18", 16)
    says = "harness: --to detectron2: its resnet18 has the width 64 alone, this backbone has 16"
    assert refused(capsys, *words("detectron2")) == says
    assert os.listdir() == ["results"]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with one run of a resnet18, beside which the test stands."""
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "results", "resnet18")
    return tmp_path / "results"


def words(kind: str = "timm", *more: str) -> list[str]:
    return ["export", RUN[:5], "--to", kind, "--results", "results", *more]


def refused(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What is said to a refused command, in one line."""
    assert main(line) == 2
    (told,) = capsys.readouterr().err.splitlines()
    return told


def test_torchvision_s_classifier_alone_is_missing(results: Path) -> None:
    import torchvision

    assert main(words("torchvision")) == 0
    state = torch.load(f"{RUN}-torchvision.pth", weights_only=True)
    keys = torchvision.models.resnet18().load_state_dict(state, strict=False)
    assert (keys.missing_keys, keys.unexpected_keys) == (["fc.weight", "fc.bias"], [])


@pytest.mark.parametrize("encoder", RESNETS)
def test_timm_s_names_are_torchvision_s(encoder: str) -> None:
    import timm

    with torch.device("meta"):
        model = timm.create_model(encoder, num_classes=0)
    assert sorted(model.state_dict()) == sorted(names(encoder))


def test_detectron2_finds_every_tensor_a_place_in_a_detector(results: Path) -> None:
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_model

    assert main(words("detectron2", "--out", "d2.pth")) == 0
    model = build_model(config(Detector(), ["cat"], seed=0))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    DetectionCheckpointer(model).load("d2.pth")
    changed = [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]
    assert len(changed) == len(names("resnet18"))
    assert all(name.startswith("backbone.bottom_up.") for name in changed)


def test_safetensors_tell_the_run(results: Path) -> None:
    from safetensors import safe_open

    assert main(words("safetensors")) == 0
    with safe_open(f"{RUN}-safetensors.safetensors", "pt") as file:
        found = file.metadata()
    assert found == {"format": "pt", "run": RUN, "strategy": "candidate_regions", "seed": "3", "commit": "c0ffee"}


def test_safetensors_tell_what_the_record_tells(results: Path) -> None:
    from safetensors import safe_open

    (results / "runs" / RUN / "provenance.json").unlink()
    assert main(words("safetensors")) == 0
    with safe_open(f"{RUN}-safetensors.safetensors", "pt") as file:
        assert set(file.metadata()) == {"format", "run", "strategy", "seed"}


@pytest.mark.parametrize("kind", ["torchvision", "detectron2", "timm"])  # safetensors shuffles its metadata
def test_the_same_run_gives_the_same_bytes(kind: str, results: Path) -> None:
    made = ["new/one.pth", "other.pth"]
    assert [main(words(kind, "--out", file)) for file in made] == [0, 0]
    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes()


def test_a_hostile_name_stays_a_name(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "'); open('trace', 'w'); ('{encoder}.pth"
    assert main(words("torchvision", "--out", name)) == 0
    exec(capsys.readouterr().out.partition("\n\n")[2], {})
    assert sorted(os.listdir()) == sorted([name, "results"])


def test_what_exists_is_kept(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(f"{RUN}-timm.pth").write_text("mine")
    told = refused(capsys, *words())
    assert told == f"harness: {RUN}-timm.pth exists: remove it, or name another file with --out"
    assert Path(f"{RUN}-timm.pth").read_text() == "mine"


def test_an_ending_that_the_library_reads_otherwise_is_refused(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, *words("detectron2", "--out", "weights.pkl"))
    assert told == "harness: --out weights.pkl: for detectron2 its name must end in .pth"


def no_weights(folder: Path) -> None:
    (folder / "backbone.pth").unlink()


def no_weights_and_a_bare_record(folder: Path) -> None:
    no_weights(folder)
    (folder / "provenance.json").unlink()
    (folder / "config.json").write_text("{}")


def another_encoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"benchmark": {"encoder": "resnet50"}}')


def an_odd_encoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"benchmark": {"encoder": ["resnet18"]}}')


def no_encoder(folder: Path) -> None:
    (folder / "config.json").write_text('{"benchmark": 3}')


def infinite(folder: Path) -> None:
    state = torch.load(folder / "backbone.pth", weights_only=True)
    state["bn1.bias"][3] = float("inf")
    torch.save(state, folder / "backbone.pth")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_weights, "has no backbone.pth here, since weights are not kept in git: make it with `harness run --seed 3"),
        (no_weights_and_a_bare_record, "make it with `harness run --strategy STRATEGY --seed SEED --results weights`"),
        (another_encoder, "backbone.pth: checkpoint of another architecture: resnet18, not resnet50"),
        (an_odd_encoder, "encoder ['resnet18']: choose from resnet18, resnet34"),
        (no_encoder, ": its settings have no benchmark.encoder"),
        (infinite, "backbone.pth: 'bn1.bias' holds a number that is not finite"),
    ],
)
def test_a_run_whose_weights_are_not_its_own_is_refused(
    spoil: Callable[[Path], None], says: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(results / "runs" / RUN)
    assert says in refused(capsys, *words())
    assert os.listdir() == ["results"]


def test_other_libraries_are_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words("keras"))
    assert stop.value.code == 2
    assert "'torchvision', 'detectron2', 'timm', 'safetensors'" in capsys.readouterr().err.replace("[", "'")
