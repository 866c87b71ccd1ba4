"""The pieces of `python -m tests.speed` run, at sizes that say nothing about speed."""

import sys
from pathlib import Path

import pytest
import torch

from harness import records
from harness.evidence.rows import fill_rows
from methods.recipe import Recipe
from tests import rivals, speed
from tests.detections import Amount
from tests.pictures import photos

TINY = speed.Sizes(images=2, channels=4, cells=3, pixels=32)


def test_the_report_has_a_line_for_every_rival_and_strategy_and_fits_80_columns() -> None:
    lines = list(speed.report(TINY, "cpu", pairs=1))
    text = "\n".join(lines)
    for name in ("windows", "SCRL", "pooling", "pixel distance", "match", "biased", "location_region", "gauges"):
        assert name in text
    assert "simsiam " not in text
    assert max(map(len, lines)) <= 80


def test_the_peak_is_that_of_the_tensors_alive_at_once() -> None:
    start = torch.zeros(2**10)

    def step() -> torch.Tensor:
        large = start + start  # 4 KiB, of which views count nothing more
        total = large.view(2, -1).sum()
        del large
        return total + (start * 2 + start).sum()  # two of 4 KiB at once

    assert 2**13 <= speed.peak(step) < 2**13 + 100


def test_what_is_kept_for_the_backward_pass_counts_once() -> None:
    start = torch.zeros(2**10, requires_grad=True)
    assert speed.saved(lambda: (start * start).sum()) == 2**12
    assert speed.saved(lambda: (start + start).sum()) == 0


def test_a_table_of_many_copied_records_is_measured(tmp_path: Path) -> None:
    speed.copies(tmp_path, 34)
    known, broken = records.read_all(tmp_path)
    assert (len(known), len({run.settings["seed"] for run in known}), broken) == (34, 34, [])
    assert 0 < sum(row.n for row in fill_rows("A1", (), known)) < 34
    assert [text.split("  ")[0] for text in speed.many_runs(2, 1)][2:] == ["seconds", "peak memory, MiB"]


def test_the_loaders_are_compared_way_by_way() -> None:
    lines = list(speed.loaders(speed.Photos(images=2, pixels=96, view=32, seconds=1e-3), pairs=1))
    assert [text.split("  ")[1] for text in lines[2:]] == [
        "all on the CPU (default there)",
        "colours left to the device",
        "… and reduced decoding",
        "all on the CPU, cached",
        "second epoch by the first",
        next(text for text in lines if "the device's part" in text).strip(),
    ]
    assert max(map(len, lines)) <= 80


def test_the_start_is_measured_in_processes_of_their_own() -> None:
    assert "harness --help" in list(speed.starting(pairs=1))[-1]


def test_lightly_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightly", None)
    way = speed.Way(Recipe(encoder="resnet18"), fused=True)
    assert list(speed.training(TINY, "cpu", way, pairs=1))[-2:] == [
        "  resnet18, both fp32; ours fp32, fused",
        "  not measured: lightly is not installed here",
    ]
    first, second = speed.resident(TINY, "cpu")
    assert speed.whole_step(speed.Narrow(), first, second, way)().value.isfinite()


def test_the_tuned_step_is_timed_against_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(speed, "compile_encoder", compiled.append)
    lines = list(speed.tuned("cpu", speed.Large(images=2, pixels=32, encoder="resnet18", matrix=32), pairs=1))
    assert len(compiled) == 1
    begun = [text.split()[0] for text in lines[2:]]
    assert begun == ["resnet18;", "location,", "location,", "tuned:", "fp32", begun[-1]]
    assert begun[-1].endswith("%")
    assert max(map(len, lines)) <= 80


def test_the_peak_counts_a_product_s_additions_and_multiplications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "timed", lambda *_: 2.0)
    assert speed.matrix_peak(8, "cpu") == 2 * 8**3 / 2


def test_torchvision_s_pair_is_two_normalised_views(tmp_path: Path) -> None:
    first, second = rivals.torchvision_pair(photos(tmp_path, 2), 32)()
    assert first.shape == second.shape == (3, 32, 32)
    assert not torch.equal(first, second)


def test_the_evaluations_are_compared() -> None:
    few = Amount(images=6, objects=9, found=4)
    lines = list(speed.evaluation(speed.Found(few, few), pairs=1))
    assert [text.split("  ")[1] for text in lines[2:]] == ["Pascal VOC's AP", "COCO's AP of boxes and masks"]
    assert max(map(len, lines)) <= 80
