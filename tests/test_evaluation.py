"""Our evaluators give the numbers of detectron2's, to the last digits, on random objects and detections."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from detectron2.data import MetadataCatalog
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from benchmarks.detection.evaluation import CocoEvaluator, VocEvaluator, run_lengths
from tests import detections
from tests.detections import Amount, Case

Scores = dict[str, dict[str, float]]


def assert_equal(ours: Scores, theirs: Scores) -> None:
    assert ours.keys() == theirs.keys()
    for task, scores in ours.items():
        assert scores == pytest.approx(theirs[task], rel=0, abs=1e-9, nan_ok=True)


def in_silence(case: Case, evaluator: Any) -> Scores:
    with contextlib.redirect_stdout(io.StringIO()):
        return case.score(evaluator)


# a class without an object that counts: 0 of 0 found
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide:RuntimeWarning:detectron2")
@pytest.mark.parametrize("year", [2007, 2012])
@pytest.mark.parametrize("seed", range(20))
def test_voc_s_ap_is_detectron2_s_over_the_classes_that_have_objects(
    seed: int, year: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Amount(images=1 + seed % 12, objects=1 + seed % 5)
    with detections.voc(seed, few) as case:
        with monkeypatch.context() as patched:
            # of a class without an object its AP is 0 or NaN, which enters its mean over all classes
            patched.setattr(np, "mean", lambda aps: np.nansum(aps) / len(aps))
            theirs = case.score(detections.detectron2_voc(case.test, year, tmp_path))
        ours = VocEvaluator(case.test, year)
        part = len(ours.scored) / len(MetadataCatalog.get(case.test).thing_classes)
        theirs = {"bbox": {name: score / part for name, score in theirs["bbox"].items()}}
        assert_equal(case.score(ours), theirs)


@pytest.mark.parametrize("year", [2007, 2012])
def test_voc_s_ap_of_nothing_found_is_0(year: int, tmp_path: Path) -> None:
    with detections.voc(0, Amount(found=0, objects=9)) as case:
        assert set(case.score(VocEvaluator(case.test, year))["bbox"].values()) == {0}
        assert_equal(
            case.score(VocEvaluator(case.test, year)),
            case.score(detections.detectron2_voc(case.test, year, tmp_path)),
        )


@pytest.mark.parametrize("seed", range(12))
def test_coco_s_ap_is_pycocotools(seed: int, tmp_path: Path) -> None:
    few = Amount(images=1 + seed % 6, objects=1 + seed, found=20, size=(60, 40 + seed))
    with detections.coco(seed, tmp_path, few) as case:
        theirs = in_silence(case, detections.detectron2_coco(case.test))
        assert_equal(in_silence(case, CocoEvaluator(case.test, ("bbox", "segm"))), theirs)


def test_the_ap_of_each_class_is_detectron2_s_and_their_mean_the_score(tmp_path: Path) -> None:
    with detections.coco(3, tmp_path, Amount()) as case:
        official, ours = detections.detectron2_coco(case.test), CocoEvaluator(case.test, ("bbox", "segm"))
        in_silence(case, official)
        scores = in_silence(case, ours)
        assert len(ours.classes) > 1
        for task, name in (("bbox", "AP"), ("segm", "mask_AP")):
            theirs = {label: official._results[task][f"AP-{label}"] for label in ours.classes}
            assert {label: of[name] for label, of in ours.classes.items()} == pytest.approx(theirs)
            assert np.mean([*theirs.values()]) == pytest.approx(scores[task]["AP"])
    with detections.voc(3, Amount()) as case:
        voc = VocEvaluator(case.test, 2012)
        score = case.score(voc)["bbox"]
        for name in ("AP", "AP50", "AP75"):
            assert np.mean([of[name] for of in voc.classes.values()]) == pytest.approx(score[name])


def test_only_the_100_surest_of_a_class_count(tmp_path: Path) -> None:
    with detections.coco(1, tmp_path, Amount(images=2, found=900, classes=3, size=(40, 30))) as case:
        assert max(map(len, case.found)) > 300
        theirs = in_silence(case, detections.detectron2_coco(case.test))
        assert_equal(in_silence(case, CocoEvaluator(case.test, ("bbox", "segm"))), theirs)


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_run_lengths_are_pycocotools(mask: Any) -> None:
    assert run_lengths(mask) == pycocotools.mask.encode(np.asfortranarray(mask, np.uint8))
