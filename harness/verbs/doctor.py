"""Say what is installed, what works, and how to mend what does not.

Example: harness doctor
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

from harness import RESULTS
from harness.engine import provenance
from harness.terminal import fold

GIB = 2**30


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add nothing: all is checked."""


def main(args: argparse.Namespace) -> None:
    """Print the outcome of every check."""
    print(examine())


def examine() -> str:
    """Return one line a check: `ok` or `!!`, what was found and, after !!, how to mend it."""
    checks: dict[str, Callable[[], str]] = {
        "python": python, "torch": torch, "torchvision": torchvision, "device": device, "sacred": sacred,
        "detectron2": detectron2, "evaluation": evaluation, "operators": operators, "embedded data": scenes,
        "results": results, "memory": memory,
    }  # fmt: skip
    return "\n".join(line(name, check) for name, check in checks.items())


def line(name: str, check: Callable[[], str]) -> str:
    """Return the outcome of a check; any exception is a fault, whose message says how to mend it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return fold(f"ok  {name:<14} {check()}")
    except Exception as fault:
        return fold(f"!!  {name:<14} {' '.join(str(fault).split())}")


def package(name: str) -> str:
    """Return the version of a package; RuntimeError if it is not installed."""
    found = provenance.installed(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed: make setup")
    return found


def python() -> str:
    """Return the version of Python."""
    return str(provenance.versions()["python"])


def torch() -> str:
    """Import torch and return its version."""
    import torch

    return str(torch.__version__)


def torchvision() -> str:
    """Run an operator of torchvision, which fails with another torch than its own, and return its version."""
    import torch
    from torchvision.ops import nms

    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
    return package("torchvision")


def device() -> str:
    """Return the device of a run without --device."""
    import torch

    if torch.cuda.is_available():
        return f"cuda: {torch.cuda.get_device_name()} (CUDA {torch.version.cuda})"
    return f"cpu: {provenance.processor()}, {torch.get_num_threads()} threads; no CUDA device"


def sacred() -> str:
    """Import the observer of sacred that writes files, and return the version."""
    from sacred.observers import FileStorageObserver

    return f"{package('sacred')} ({FileStorageObserver.__name__})"


def detectron2() -> str:
    """Import the model builder of detectron2 and return the version."""
    from detectron2.modeling import build_model

    return f"{package('detectron2')} ({build_model.__name__})"


def evaluation() -> str:
    """Import the evaluator that computes COCO's AP and return the version of its package."""
    found = package("faster-coco-eval")
    from benchmarks.detection.evaluation import CocoEvaluator

    return f"faster-coco-eval {found} ({CocoEvaluator.__name__})"


def operators() -> str:
    """Return whether detectron2 has its compiled operators, which no benchmark here needs."""
    if importlib.util.find_spec("detectron2._C"):
        return "detectron2 with compiled operators"
    return "detectron2 in pure Python, which every benchmark here can use"


def scenes() -> str:
    """Compose one scene from the embedded pictures."""
    from benchmarks.scenes.compose import compose
    from benchmarks.scenes.layout import Layout

    scene = compose(Layout(), 0, "trainval", 0)
    return f"scenes compose ({len(scene.labels)} objects in the first one)"


def results() -> str:
    """Return the free space of the folder of the records; RuntimeError if it cannot be written."""
    if not os.access(RESULTS, os.W_OK):
        raise RuntimeError(f"{RESULTS} cannot be written: use --results DIR")
    return f"results can be written, {shutil.disk_usage(RESULTS).free / GIB:.0f} GiB free"


def memory() -> str:
    """Return the available memory; RuntimeError if it is less than the 4 GiB that the demo needs."""
    file = Path("/proc/meminfo")
    if not file.exists():
        return "not known on this system; the demo needs 4 GiB"
    fields = dict(line.split(":", 1) for line in file.read_text(encoding="ascii").splitlines())
    free = int(fields["MemAvailable"].split()[0]) / 2**20
    if free < 4:
        raise RuntimeError(f"{free:.1f} GiB available, and the demo needs 4: close other programs")
    return f"{free:.0f} GiB available"
