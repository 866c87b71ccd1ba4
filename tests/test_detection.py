"""A real Faster R-CNN, cut in size: it repeats itself, keeps its house clean and scores what it should."""

import json
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import conv2d

from benchmarks.data.voc import Voc, VocError, read
from benchmarks.dense.images import opened, tensor
from benchmarks.detection import tuning
from benchmarks.detection.catalog import dataset, registered
from benchmarks.detection.config import DetectionError, config
from benchmarks.detection.detector import Detector
from benchmarks.detection.log import log_to
from benchmarks.scenes import DEMO
from benchmarks.scenes_frozen import ScenesFrozen
from benchmarks.voc07_12 import Voc0712
from benchmarks.voc_folder import VocFolder
from benchmarks.weights import PIXEL_MEAN, PIXEL_STD, ConvertError
from methods.encoder import build_encoder
from tests.pictures import Objects, voc_folder

SLIM: dict[str, Any] = {
    "sizes": (64,),
    "iterations": 3,
    "batch": 2,
    "warmup": 1,
    "rois": 8,
    "proposals": (100, 20, 100, 10),
}


def test_the_settings_are_read_without_torch() -> None:
    code = (
        "import sys, benchmarks.voc_folder, benchmarks.voc07_12, benchmarks.coco_fpn, benchmarks.coco_c4\n"
        "sys.exit(', '.join({'torch', 'detectron2', 'numpy'} & set(sys.modules)) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"encoder": "resnet19"}, "encoder=resnet19: choose from resnet18, resnet34, resnet50, resnet101, resnet152"),
        ({"family": "yolo"}, "family=yolo: choose from fpn, c4"),
        ({"norm": "GN"}, "norm=GN: choose from BN, FrozenBN, SyncBN"),
        ({"freeze": 6}, "freeze=6: choose from 0, 1, 2, 3, 4, 5"),
        ({"batch": 0}, "batch=0: at least 1"),
        ({"warmup": -1}, "warmup=-1: at least 0"),
        ({"calibrate": -1}, "calibrate=-1: at least 0"),
        ({"sizes": ()}, r"sizes=\(\): at least 32"),
        ({"proposals": (9, 9, 0, 9)}, "proposals=.*: at least 1"),
        ({"lr": 0.0}, "lr=0.0, clip=5.0: more than 0"),
        ({"clip": 0.0}, "lr=0.02, clip=0.0: more than 0"),
        ({"anchors": (8, 16)}, "anchors=.*: the FPN has 5 levels"),
        ({"decay": (1.0,)}, "decay=.*: parts of the iterations"),
    ],
)
def test_a_wrong_setting_is_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(DetectionError, match=message):
        Detector(**setting)


def look_up(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


# METHODS 10.2 and detectron2's configs/Base-RCNN-C4.yaml
PAPER = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.MASK_ON": False,
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "MODEL.BACKBONE.NAME": "build_resnet_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.RESNETS.NORM": "SyncBN",
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.OUT_FEATURES": ["res4"],
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32, 64, 128, 256, 512]],
    "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[0.5, 1.0, 2.0]],
    "MODEL.RPN.IN_FEATURES": ["res4"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 12000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeadsExtraNorm",
    "MODEL.ROI_HEADS.IN_FEATURES": ["res4"],
    "MODEL.ROI_HEADS.NUM_CLASSES": 20,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 512,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
    "INPUT.FORMAT": "RGB",
    "INPUT.MIN_SIZE_TRAIN": (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800),
    "INPUT.MIN_SIZE_TRAIN_SAMPLING": "choice",
    "INPUT.MAX_SIZE_TRAIN": 1333,
    "INPUT.MIN_SIZE_TEST": 800,
    "INPUT.MAX_SIZE_TEST": 1333,
    "INPUT.RANDOM_FLIP": "horizontal",
    "SOLVER.IMS_PER_BATCH": 16,
    "SOLVER.BASE_LR": 0.02,
    "SOLVER.STEPS": (18000, 22000),
    "SOLVER.GAMMA": 0.1,
    "SOLVER.MAX_ITER": 24000,
    "SOLVER.WARMUP_ITERS": 100,
    "SOLVER.WEIGHT_DECAY": 0.0001,
    "SOLVER.CLIP_GRADIENTS.ENABLED": False,
    "TEST.PRECISE_BN.ENABLED": True,
    "TEST.PRECISE_BN.NUM_ITER": 200,
}


def test_the_papers_protocol_value_by_value() -> None:
    cfg = config(Voc0712(), [""] * 20, seed=0, processes=8)
    assert {key: look_up(cfg, key) for key in PAPER} == PAPER
    assert config(Voc0712(), [""] * 20, seed=0).MODEL.RESNETS.NORM == "BN"
    assert Voc0712().year == 2007


TWENTY: Objects = [(f"class {i}", 1, 1, 20, 30) for i in range(20)]


def test_the_papers_splits(tmp_path: Path) -> None:
    voc_folder(tmp_path / "VOC2007", trainval={"a": TWENTY}, test={"b": TWENTY})
    voc_folder(tmp_path / "VOC2012", trainval={"c": TWENTY})
    voc = Voc0712().prepare(tmp_path, tmp_path)
    assert ([r.id for r in voc.train], [r.id for r in voc.test]) == (["a", "c"], ["b"])


def test_the_paper_has_twenty_classes(tmp_path: Path) -> None:
    voc_folder(tmp_path / "VOC2007", trainval={"a": TWENTY[1:]}, test={"b": TWENTY[1:]})
    voc_folder(tmp_path / "VOC2012", trainval={"c": TWENTY[1:]})
    with pytest.raises(VocError, match="19 classes instead of Pascal VOC's 20"):
        Voc0712().prepare(tmp_path, tmp_path)


@pytest.mark.parametrize("benchmark", [Voc0712(), VocFolder()])
def test_a_benchmark_without_data_asks_for_it(benchmark: Voc0712 | VocFolder, tmp_path: Path) -> None:
    with pytest.raises(VocError, match=r"^benchmark 'voc.*' needs a .*: --benchmark-data DIR$"):
        benchmark.prepare(None, tmp_path)


@pytest.fixture(scope="module")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Voc:
    """Images of one shape with a square each, one gray and one CMYK, and an empty one in each split."""
    squares: list[Objects] = [[("cat/dog", x, 3, x + 15, 20)] for x in range(1, 7)]
    train = {f"train {i}": objects for i, objects in enumerate([*squares, []])}
    test = {f"test {i}": objects for i, objects in enumerate([*squares[:3], []])}
    folder = voc_folder(tmp_path_factory.mktemp("data") / "voc", trainval=train, test=test)
    for id, mode in {"train 0": "L", "train 1": "CMYK"}.items():
        path = folder / "JPEGImages" / f"{id}.jpg"
        Image.open(path).convert(mode).save(path)
    return read(folder)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("backbone") / "backbone.pth"
    torch.save(build_encoder("resnet18", zero_init=False, width=8).state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary folders go where no other process makes its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("scratch")))


def losses(folder: Path) -> list[float]:
    lines = (folder / "detection.jsonl").read_text().splitlines()
    return [json.loads(line)["total_loss"] for line in lines]


def traces() -> tuple[Any, ...]:
    """What a fine-tuning could leave behind in the process and on the disk."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    logger = logging.getLogger("detectron2")
    scratch = list(Path(tempfile.gettempdir()).iterdir())
    return DatasetCatalog.list(), MetadataCatalog.list(), list(logger.handlers), logger.propagate, scratch


@pytest.mark.parametrize("family", ["fpn", "c4"])
def test_the_same_seed_gives_the_same_curve_and_scores(
    family: str, voc: Voc, backbone: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = traces()
    settings = Detector(**SLIM, family=family, precise_bn=1)
    first = settings.evaluate(backbone, voc, tmp_path / "first", seed=3)
    torch.rand(7)
    np.random.rand(7)
    again = settings.evaluate(backbone, voc, tmp_path / "again", seed=3)
    settings.evaluate(backbone, voc, tmp_path / "other", seed=4)
    assert sorted(first) == ["AP", "AP50", "AP75"]
    assert all(type(score) is float for score in first.values())
    assert first == again
    assert len(losses(tmp_path / "first")) == 3
    assert losses(tmp_path / "first") == losses(tmp_path / "again") != losses(tmp_path / "other")
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [
        "classes.json",
        "detection-checkpoint.pth",
        "detection.jsonl",
        "detection.log",
        "detection.yaml",
    ]
    assert traces() == before
    assert capfd.readouterr() == ("", "")


def test_norms_are_measured_on_train_images_before_the_fine_tuning_only_if_asked_to(
    voc: Voc, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen norm of the stem, measured on all train images, gives maps of mean 0 and variance 1."""
    begun: list[dict[str, Tensor]] = []
    build = tuning.build

    def noted(cfg: Any) -> nn.Module:
        model = build(cfg)
        begun.append({name: tensor.clone() for name, tensor in model.backbone.bottom_up.state_dict().items()})  # type: ignore[union-attr]
        return model

    monkeypatch.setattr(tuning, "build", noted)
    settings = {**SLIM, "iterations": 1, "norm": "FrozenBN"}
    for images in (0, 7):
        Detector(**settings, calibrate=images).evaluate(backbone, voc, tmp_path / str(images), seed=0)
    stored, measured = begun
    assert stored["stem.conv1.norm.running_mean"].abs().max() == 0
    assert torch.equal(stored["stem.conv1.weight"], measured["stem.conv1.weight"])
    pixels = torch.stack([tensor(opened(file).resize((64, 64))) for file in voc.learnt]).float()
    mean, std = (torch.tensor(three)[:, None, None] for three in (PIXEL_MEAN, PIXEL_STD))
    maps = conv2d((pixels - mean) / std, measured["stem.conv1.weight"], stride=2, padding=3)
    found = [measured[f"stem.conv1.norm.running_{name}"] for name in ("mean", "var")]
    for value, wanted in zip(found, (maps.mean((0, 2, 3)), maps.var((0, 2, 3))), strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-5)


def test_the_loss_falls(voc: Voc, backbone: Path, tmp_path: Path) -> None:
    Detector(**{**SLIM, "iterations": 12}).evaluate(backbone, voc, tmp_path, seed=0)
    curve = losses(tmp_path)
    assert curve[-1] < 0.88 * curve[0]  # over four seeds 0.73 to 0.78, and 0.98 to 1.01 without an lr


def test_another_architecture_stops_before_training(voc: Voc, backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="another architecture: resnet18, not resnet50"):
        Detector(**SLIM, encoder="resnet50").evaluate(backbone, voc, tmp_path, seed=0)


def test_a_loss_that_is_not_finite_is_one_line(voc: Voc, backbone: Path, tmp_path: Path) -> None:
    before = traces()
    settings = Detector(**{**SLIM, "iterations": 9}, lr=1e25, clip=None)
    with pytest.raises(DetectionError, match=r"^the fine-tuning's loss is not finite at iteration \d with lr"):
        settings.evaluate(backbone, voc, tmp_path, seed=0)
    assert traces() == before


def test_an_interrupt_leaves_nothing_half_written(
    voc: Voc, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from detectron2.engine import SimpleTrainer

    before, step = traces(), SimpleTrainer.run_step

    def interrupted(trainer: Any) -> None:
        if trainer.iter == 2:
            raise KeyboardInterrupt
        step(trainer)

    monkeypatch.setattr(SimpleTrainer, "run_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Detector(**SLIM).evaluate(backbone, voc, tmp_path, seed=0)
    assert len(losses(tmp_path)) == 2
    assert traces() == before
    monkeypatch.undo()
    Detector(**SLIM).evaluate(backbone, voc, tmp_path, seed=0)
    assert len(losses(tmp_path)) == 3


def test_warnings_go_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with log_to(tmp_path / "log"):
            warnings.warn("from elsewhere", stacklevel=1)
    assert "from elsewhere" in (tmp_path / "log").read_text()
    assert capfd.readouterr() == ("", "")


def test_frozen_detection_is_the_demo_s_with_all_stages_frozen_on_the_same_scenes() -> None:
    frozen = ScenesFrozen(encoder=DEMO.encoder)
    assert {name: value for name, value in vars(frozen).items() if value != vars(DEMO)[name]} == {"freeze": 5}
    assert frozen.embedded_images().id == DEMO.embedded_images().id


def test_frozen_detection_says_whose_statistics_its_norms_use(voc: Voc) -> None:
    assert "stored statistics" in " ".join(ScenesFrozen().notes(voc))
    assert ScenesFrozen(calibrate=8).notes(voc) == []


@pytest.mark.parametrize(("freeze", "trained"), [(0, 20), (2, 15), (5, 0)])
def test_frozen_stages_do_not_learn(freeze: int, trained: int) -> None:
    from detectron2.modeling import build_model

    model = build_model(config(Detector(freeze=freeze), ["cat"], seed=0))
    convolutions = [
        name
        for name, parameter in model.backbone.bottom_up.named_parameters()
        if parameter.requires_grad and parameter.dim() == 4
    ]
    assert len(convolutions) == trained


@pytest.mark.parametrize(("size", "batch"), [((40, 30), 2), ((30, 30), 1)])
def test_the_test_is_batched_where_nothing_is_padded(size: tuple[int, int], batch: int, tmp_path: Path) -> None:
    objects: Objects = [("cat", 1, 1, 20, 20)]
    folder = voc_folder(tmp_path / "voc", trainval={"a": objects}, test={"b": objects, "c": objects})
    Image.new("RGB", size).save(folder / "JPEGImages/c.jpg")
    xml = (folder / "Annotations/c.xml").read_text()
    (folder / "Annotations/c.xml").write_text(xml.replace("<width>40<", f"<width>{size[0]}<"))
    from benchmarks.detection.evaluation import evaluation_loader

    with registered(read(folder), "voc") as (_, test):
        cfg = config(Detector(**SLIM), ["cat"], seed=0)
        cfg.DATASETS.TEST = (test,)
        loader = evaluation_loader(cfg)
        assert [len(images) for images in loader] == [batch] * (2 // batch)


def judge(voc: Voc, shift: float = 0.0) -> dict[str, float]:
    """The scores of detections that are the annotations themselves, moved right by `shift` px."""
    from detectron2.structures import Boxes, Instances

    with registered(voc, "voc") as (_, test):
        evaluator = Detector().evaluator(test)
        for image in dataset(voc.test, voc.classes):
            boxes = torch.tensor([a["bbox"] for a in image["annotations"]]).reshape(-1, 4)
            found = Instances((30, 40), pred_boxes=Boxes(boxes + torch.tensor([shift, 0, shift, 0])))
            found.scores = torch.ones(len(boxes))
            found.pred_classes = torch.tensor([a["category_id"] for a in image["annotations"]])
            evaluator.process([image], [{"instances": found}])
        return dict(evaluator.evaluate()["bbox"])


def test_the_evaluator_sees_the_same_boxes_as_the_training(tmp_path: Path) -> None:
    objects: Objects = [("cat/dog", 1, 1, 20, 30), ("a cow", 11, 3, 30, 22)]
    voc = read(voc_folder(tmp_path / "voc", trainval={"a b": objects}, test={"c d": objects, "empty": []}))
    assert judge(voc) == {"AP": 100, "AP50": 100, "AP75": 100}
    # 20 px wide boxes that overlap by 16 have an IoU of 16 / 24: above .50, .55, .60 and .65
    assert judge(voc, shift=4) == pytest.approx({"AP": 40, "AP50": 100, "AP75": 0})


def test_fractions_are_rounded_half_up_for_the_evaluator_alone(tmp_path: Path) -> None:
    objects: Objects = [("cat", 1.5, 2.25, 20.75, 29.5)]
    voc = read(voc_folder(tmp_path / "voc", trainval={"a": objects}, test={"b": objects}))
    with registered(voc, "voc") as (_, test):
        (truth,) = Detector().evaluator(test).truths.values()
    assert truth.boxes.tolist() == [[2, 2, 21, 30]]
    assert dataset(voc.train, voc.classes)[0]["annotations"][0]["bbox"] == [0.5, 1.25, 20.75, 29.5]
