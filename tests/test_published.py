"""The published protocols: settings to the last key, fewer GPUs, implausible scores, a small run of each."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.coco_c4 import CocoC4
from benchmarks.coco_fpn import CocoFpn
from benchmarks.data.voc import Voc
from benchmarks.detection.config import config
from benchmarks.detection.detector import Detector
from benchmarks.detection.mask import MaskDetector
from benchmarks.detection.published import Published
from benchmarks.detection.tuning import train_in_bf16
from benchmarks.scenes import DEMO
from benchmarks.voc07_12 import Voc0712
from harness import ROOT
from harness.cli import main
from harness.presets import PRESETS
from tests.pictures import Objects, coco_folder, voc_folder

PROTOCOLS: list[Published] = [Voc0712(), CocoFpn(), CocoC4()]
CLASSES = {"voc07+12": 20, "coco-fpn": 80, "coco-c4": 80}


def keys(cfg: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in cfg.items():
        if isinstance(value, dict):
            yield from keys(value, f"{before}{key}.")
        else:
            yield before + key, value


def resolved(detector: Published, processes: int = 8) -> dict[str, Any]:
    return dict(keys(config(detector, [""] * CLASSES[detector.name], seed=0, processes=processes)))


# METHODS 10.2 and 10.3: what the three add to detectron2's own configs
SHARED = {
    "INPUT.FORMAT": "RGB",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.RESNETS.NORM": "SyncBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "TEST.PRECISE_BN.ENABLED": True,
}
OWN: dict[str, dict[str, Any]] = {
    "voc07+12": {
        "MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm",
        "SOLVER.MAX_ITER": 24000,
        "SOLVER.STEPS": (18000, 22000),
    },
    "coco-fpn": {
        "MODEL.FPN.NORM": "SyncBN",
        "MODEL.ROI_BOX_HEAD.NORM": "SyncBN",
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_MASK_HEAD.NORM": "SyncBN",
    },
    "coco-c4": {"MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm"},
}
ZOO = {
    "voc07+12": "PascalVOC-Detection/faster_rcnn_R_50_C4.yaml",
    "coco-fpn": "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml",
    "coco-c4": "COCO-InstanceSegmentation/mask_rcnn_R_50_C4_1x.yaml",
}
# of this run and its machine, and detectron2's files of data and weights
RUN = {"DATASETS.TRAIN", "DATASETS.TEST", "MODEL.DEVICE", "MODEL.WEIGHTS", "OUTPUT_DIR", "SEED"}
# set where they have no effect: a ceiling of gradients that is off
MOOT = {"SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "SOLVER.CLIP_GRADIENTS.CLIP_VALUE"}
MOOT |= {"SOLVER.CLIP_GRADIENTS.NORM_TYPE", "SOLVER.REFERENCE_WORLD_SIZE"}


@pytest.mark.parametrize("detector", PROTOCOLS, ids=lambda detector: detector.name)
def test_every_key_is_detectron2s_or_has_a_source(detector: Published) -> None:
    from detectron2 import model_zoo

    ours, zoo = resolved(detector), dict(keys(model_zoo.get_config(ZOO[detector.name])))
    differing = {key: ours.get(key) for key in ours.keys() | zoo.keys() if ours.get(key) != zoo.get(key)}
    assert {key: value for key, value in differing.items() if key not in RUN | MOOT} == SHARED | OWN[detector.name]


# METHODS 10.3 and detectron2's configs/Base-RCNN-FPN.yaml and Base-RCNN-C4.yaml, in case these ever change
COCO = {
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.MAX_SIZE_TRAIN": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MIN_SIZE_TRAIN": (640, 672, 704, 736, 768, 800),
    "INPUT.RANDOM_FLIP": "horizontal",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS": True,
    "MODEL.MASK_ON": True,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 512,
    "MODEL.ROI_HEADS.NUM_CLASSES": 80,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.MAX_ITER": 90000,
    "SOLVER.STEPS": (60000, 80000),
    "SOLVER.WARMUP_ITERS": 1000,
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "TEST.PRECISE_BN.NUM_ITER": 200,
}
FPN = {
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.FPN.OUT_CHANNELS": 256,
    "MODEL.ROI_BOX_HEAD.CONV_DIM": 256,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 256,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
}
C4 = {
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 12000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
}


@pytest.mark.parametrize(("detector", "own"), [(CocoFpn(), FPN), (CocoC4(), C4)])
def test_cocos_protocols_value_by_value(detector: Published, own: dict[str, Any]) -> None:
    wanted = SHARED | OWN[detector.name] | COCO | own
    found = resolved(detector)
    assert {key: found[key] for key in wanted} == wanted


@pytest.mark.parametrize(("norm", "heads"), [("SyncBN", "BN"), ("FrozenBN", "BN"), ("BN", "BN")])
def test_one_process_has_no_syncbn(norm: str, heads: str) -> None:
    found = resolved(CocoFpn(norm=norm), processes=1)
    norms = {found[f"MODEL.{part}.NORM"] for part in ("FPN", "ROI_BOX_HEAD", "ROI_MASK_HEAD")}
    assert (norms, found["MODEL.RESNETS.NORM"]) == ({heads}, "FrozenBN" if norm == "FrozenBN" else "BN")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpus": 3}, "gpus=3: choose from 1, 2, 4, 8"),
        ({"precision": "fp16"}, "precision=fp16: choose from fp32, bf16"),
        ({"gpus": 1, "batch": 12}, "batch=12: gpus=1 needs a multiple of the protocol's 8 GPUs"),
        ({"mask_convs": -1}, "mask_convs=-1: at least 0"),
        ({"box_fcs": 0}, "box_convs=4, box_fcs=0: at least 0 and 1"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CocoFpn(**change)


# --- fewer GPUs


def counts(train: int, test: int) -> Any:
    return SimpleNamespace(images=(train, test), classes=["dog"] * 20)


VOC, LESS = counts(16551, 4952), counts(16550, 4952)


@pytest.mark.parametrize(
    ("gpus", "batch", "lr", "steps"),
    [
        (8, 16, 0.02, (18000, 22000, 24000, 100)),
        (2, 4, 0.005, (72000, 88000, 96000, 400)),
        (1, 2, 0.0025, (144000, 176000, 192000, 800)),
    ],
)
def test_fewer_gpus_scale_linearly(gpus: int, batch: int, lr: float, steps: tuple[int, ...]) -> None:
    found = resolved(Voc0712(gpus=gpus))
    assert (found["SOLVER.IMS_PER_BATCH"], found["SOLVER.BASE_LR"]) == (batch, lr)
    assert (*found["SOLVER.STEPS"], found["SOLVER.MAX_ITER"], found["SOLVER.WARMUP_ITERS"]) == steps


def test_only_the_published_have_gpus_and_a_precision() -> None:
    assert all({"gpus", "precision"} <= vars(protocol).keys() for protocol in PROTOCOLS)
    assert not {"gpus", "precision"} & (vars(Detector()).keys() | vars(DEMO).keys())


@pytest.mark.parametrize(
    ("detector", "data", "lines"),
    [
        (
            Voc0712(gpus=1),
            VOC,
            [
                "voc07+12 scaled linearly to 1 of 8 GPUs: batch 2, lr 0.0025, 192,000 iterations,",
                "800 of them warm-up",
            ],
        ),
        (
            CocoC4(gpus=4),
            counts(6, 5000),
            [
                "coco-c4 scaled linearly to 4 of 8 GPUs: batch 8, lr 0.01, 180,000 iterations,",
                "2,000 of them warm-up",
                "not the official data: 6 train, 5,000 test images instead of 118,287 and 5,000",
            ],
        ),
        (
            Voc0712(gpus=2, precision="bf16"),
            VOC,
            [
                "voc07+12 scaled linearly to 2 of 8 GPUs: batch 4, lr 0.005, 96,000 iterations,",
                "400 of them warm-up",
                "not the published precision: fine-tuned in bf16 instead of fp32, tested in fp32",
            ],
        ),
        (
            CocoFpn(),
            counts(118287, 5000),
            [
                "coco-fpn is defined on 8 GPUs: one device here takes all 16 images of a batch,",
                "and BatchNorm sees all of them, as SyncBN does; benchmark.gpus=1 scales batch,",
                "rate and iterations down instead",
            ],
        ),
    ],
)
def test_notes_say_what_departs(detector: Published, data: Any, lines: list[str]) -> None:
    assert detector.notes(data) == lines
    assert max(map(len, lines)) <= 80


# --- warnings


@pytest.mark.parametrize(
    ("score", "trained", "line"),
    [
        (33.0, False, None),
        (32.7, False, "AP 32.7 of a random backbone is below the expected 33.8 ± 1.0 (random: README of PixPro, METH"),
        (34.9, False, "AP 34.9 of a random backbone is above the expected 33.8 ± 1.0 (random: README of PixPro, METH"),
        (34.9, True, None),
        (61.1, True, None),
        (32.7, True, "AP 32.7 of a trained backbone is below the expected 33.8 ± 1.0 (random: README of PixPro, METH"),
        (61.3, True, "AP 61.3 of a trained backbone is above the expected 60.2 ± 1.0 (PixPro, 400 epochs: README of"),
    ],
)
def test_a_score_outside_of_what_is_known_is_warned(score: float, trained: bool, line: str | None) -> None:
    found = Voc0712().warnings({"AP": score, "AP50": 0.0, "AP75": 0.0}, VOC, trained)
    assert [one.startswith(str(line)) for one in found] == ([] if line is None else [True])


@pytest.mark.parametrize(
    ("detector", "data", "warned"),
    [
        (Voc0712(), VOC, True),
        (Voc0712(workers=0), VOC, True),
        (Voc0712(gpus=1), VOC, False),
        (Voc0712(precision="bf16"), VOC, False),
        (Voc0712(lr=0.01), VOC, False),
        (Voc0712(), LESS, False),
    ],
)
def test_only_the_protocol_itself_is_compared(detector: Published, data: Any, warned: bool) -> None:
    assert bool(detector.warnings({"AP": 2.0}, data, trained=True)) == warned


@pytest.mark.parametrize(
    ("detector", "random", "best"), [(CocoFpn(), (32.8, 29.9), (41.4, 37.4)), (CocoC4(), (26.4, 29.3), (40.5, 35.3))]
)
def test_boxes_and_masks_are_warned_apart(
    detector: Published, random: tuple[float, float], best: tuple[float, float]
) -> None:
    data = counts(118287, 5000)
    assert detector.warnings({"AP": random[0], "mask_AP": random[1]}, data, trained=False) == []
    assert detector.warnings({"AP": best[0], "mask_AP": best[1]}, data, trained=True) == []
    (line,) = detector.warnings({"AP": best[0], "mask_AP": best[1] + 1.1}, data, trained=True)
    assert line.startswith(f"mask_AP {best[1] + 1.1:.1f} of a trained backbone is above")


EMPTY = Voc(Path(), (), (), ())


def test_the_demos_records_are_not_warned() -> None:
    from harness.records import read_all

    records = read_all(ROOT / "results" / "demo")[0]
    assert len(records) == 33
    for record in records:
        assert DEMO.warnings(record.scores or {}, EMPTY, record.strategy != "random") == []
    assert PRESETS["demo"].benchmark == DEMO
    (line,) = DEMO.warnings({"AP": 8.0}, EMPTY, trained=False)
    assert line.startswith("AP 8.0 of a random backbone is above the expected 4.3 ± 3.5 (random: results/demo/runs, ")
    assert replace(DEMO, iterations=9).warnings({"AP": 8.0}, EMPTY, trained=False) == []


# --- real runs

TWENTY: Objects = [(f"class {i}", 1 + i % 2, 2, 22 + i % 2, 28) for i in range(20)]
CUT: dict[str, Any] = {
    "sizes": (64,),
    "iterations": 2,
    "batch": 2,
    "warmup": 1,
    "rois": 4,
    "proposals": (100, 10, 100, 4),
    "precise_bn": 1,
    "workers": 0,
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    import torchvision

    torch.manual_seed(1)
    state = torchvision.models.resnet50().state_dict()
    path = tmp_path_factory.mktemp("backbone") / "backbone.pth"
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, path)
    return path


@pytest.fixture(scope="module")
def voc07_12(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "VOCdevkit"
    voc_folder(folder / "VOC2007", trainval={"a": TWENTY, "b": TWENTY}, test={"c": TWENTY, "d": TWENTY[:9]})
    voc_folder(folder / "VOC2012", trainval={"e": TWENTY})
    return folder


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coco_folder(tmp_path_factory.mktemp("data") / "coco")


BOXES, MASKS = ["AP", "AP50", "AP75"], ["mask_AP", "mask_AP50", "mask_AP75"]


@pytest.mark.parametrize(
    ("detector", "folder", "names"),
    [(Voc0712(), "voc07_12", BOXES), (CocoFpn(), "coco", BOXES + MASKS), (CocoC4(), "coco", BOXES + MASKS)],
)
def test_two_iterations_and_an_evaluation(
    detector: Voc0712 | MaskDetector,
    folder: str,
    names: list[str],
    request: pytest.FixtureRequest,
    backbone: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from detectron2.data import DatasetCatalog

    before = DatasetCatalog.list()
    data = detector.prepare(request.getfixturevalue(folder), tmp_path)
    scores = replace(detector, **CUT).evaluate(backbone, data, tmp_path / "run", seed=0)
    assert list(scores) == names
    assert all(type(score) is float and 0 <= score <= 100 for score in scores.values())
    curve = [json.loads(line) for line in (tmp_path / "run/detection.jsonl").read_text().splitlines()]
    assert [("loss_mask" in line) for line in curve] == [folder == "coco"] * 2
    kept = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert kept == ["classes.json", "detection-checkpoint.pth", "detection.jsonl", "detection.log", "detection.yaml"]
    assert DatasetCatalog.list() == before
    assert capfd.readouterr() == ("", "")


def test_only_what_has_a_gradient_is_in_bf16_and_never_a_box() -> None:
    import torch
    from detectron2.modeling.poolers import ROIPooler
    from detectron2.structures import Boxes
    from torch import Tensor, nn

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.pooler = nn.Conv2d(2, 2, 1, bias=False), ROIPooler((1, 1), [1.0], 0, "ROIAlignV2")

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features = self.layer(images)
            return features, self.pooler([features], [Boxes(torch.tensor([[998.0, 0.0, 999.0, 1.0]]))])

    head, images = Head(), torch.zeros(1, 2, 1, 1100)
    images[..., 998] = 1
    nn.init.eye_(head.layer.weight[:, :, 0, 0])
    train_in_bf16(head)
    features, pooled = head(images)
    assert (features.dtype, pooled.dtype) == (torch.bfloat16, torch.float32)
    assert head.layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert pooled.flatten().tolist() == [1, 1]
    with torch.no_grad():
        assert head(images)[0].dtype == torch.float32


@pytest.mark.parametrize(("detector", "folder"), [(Voc0712(), "voc07_12"), (CocoFpn(channels=16, fc=32), "coco")])
def test_two_iterations_in_bf16(
    detector: Voc0712 | MaskDetector, folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import torch
    import torchvision

    backbone = tmp_path / "backbone.pth"
    torch.save({k: v for k, v in torchvision.models.resnet18().state_dict().items() if k[:3] != "fc."}, backbone)
    data = detector.prepare(request.getfixturevalue(folder), tmp_path)
    settings = replace(detector, **CUT, encoder="resnet18", pool=4, precision="bf16")
    scores = settings.evaluate(backbone, data, tmp_path / "run", seed=0)
    assert all(0 <= score <= 100 for score in scores.values())
    assert "    ENABLED: true\n" in (tmp_path / "run/detection.yaml").read_text().partition("AMP:")[2][:19]
    kept = torch.load(tmp_path / "run/detection-checkpoint.pth", weights_only=True)
    assert all(value.dtype != torch.bfloat16 and value.isfinite().all() for value in kept["model"].values())
    moved = next(value for name, value in kept["model"].items() if name.endswith("res5.1.conv2.weight"))
    assert not torch.equal(moved, torch.load(backbone, weights_only=True)["layer4.1.conv2.weight"])


def test_a_dry_run_of_the_protocol(coco: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "--strategy", "random", "--preset", "paper", "--benchmark", "coco-fpn", "--dry-run"]
    assert main([*words, "--benchmark-data", str(coco), "--set", "benchmark.sizes=64"]) == 0
    assert "benchmark coco-fpn: 90,000 iterations of 16 images at 64 px" in capsys.readouterr().out
