"""Runs whose work a test makes up, recorded as harness records a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import records
from harness.engine import observers
from harness.engine.observers import ExtraObserver


def observed(
    folder: Path, settings: dict[str, Any], work: Callable[[], dict[str, float]], extra: Sequence[ExtraObserver] = ()
) -> records.Record:
    """Make a run of these settings in a folder, while sacred observes its work."""
    records.begin(folder, settings)
    records.finish(folder, observers.observe(folder, settings, work, extra))
    return records.read(folder)


def recorded(folder: Path, settings: dict[str, Any], scores: Mapping[str, float], **facts: Any) -> records.Record:
    """Record a run of these settings and scores without sacred, which takes most of a small run's time."""
    records.begin(folder, settings, **facts)
    records.finish(folder, scores)
    return records.read(folder)
