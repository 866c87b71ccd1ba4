"""The pieces of `python -m tests.speed` run, at sizes that say nothing about speed."""

from pathlib import Path

import torch

from harness import records, tables
from tests import speed

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
    assert 0 < sum(row.n for row in tables.rows("A1", (), known)) < 34
    assert [text.split("  ")[0] for text in speed.many_runs(2, 1)][2:] == ["seconds", "peak memory, MiB"]
