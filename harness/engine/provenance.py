"""Where a result comes from: commit, versions, device and data."""

from __future__ import annotations

import hashlib
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness import ROOT

PACKAGES = ("torch", "torchvision", "detectron2", "sacred", "numpy", "pillow")
CODE = ("harness", "methods", "benchmarks", "third_party")  # a result depends on these folders


def code() -> dict[str, Any]:
    """The commit, and whether the code differs from it; None for both outside a git checkout."""
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", *CODE)
    return {"commit": commit, "dirty": None if commit is None or changed is None else bool(changed)}


def git(*words: str) -> str | None:
    """Git's answer about this checkout, None if it has none."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Installed versions, Python's included."""
    return {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}}


def installed(package: str) -> str | None:
    """A package's version, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device(name: str) -> dict[str, Any]:
    """What the run computes on."""
    import torch

    if name.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(name), "cuda": torch.version.cuda}
    return {"device": f"CPU ({processor()})", "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads()}  # fmt: skip


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def fingerprint(images: Sequence[Path], folder: Path) -> str:
    """16 hexadecimal digits over the names and sizes of the images below a folder: cheap for a million files."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.relative_to(folder)}\0{image.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]


def peak_memory() -> int:
    """Largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
