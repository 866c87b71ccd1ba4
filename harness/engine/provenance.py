"""Where a result comes from: commit, package versions, device and data."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.data.contents import BY_CONTENT
from harness import ROOT

PACKAGES = ("torch", "torchvision", "detectron2", "sacred", "numpy", "pillow")
CODE = ("harness", "methods", "benchmarks", "third_party")  # the folders that a result depends on


def code() -> dict[str, str | bool | None]:
    """Return the commit, and whether the code differs from it; None for both outside a git checkout."""
    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--", *CODE)
    return {"commit": commit, "dirty": None if commit is None or changed is None else bool(changed)}


def git(*arguments: str) -> str | None:
    """Return git's output for this checkout, None if there is none."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{name: installed(name) for name in PACKAGES}}


def installed(package: str) -> str | None:
    """Return a package's version, None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def device(name: str) -> dict[str, str | int | None]:
    """Return the name of a device and what its results may depend on."""
    import torch

    if name.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(name), "cuda": torch.version.cuda}
    return {"device": f"CPU ({processor()})", "capability": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads()}  # fmt: skip


def processor() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def fingerprint(images: Sequence[Path], folder: Path, contents: Sequence[str] | None = None) -> str:
    """Return 16 hexadecimal digits over the names of the images below a folder and the hashes of their contents.

    It is the same wherever the folder lies. Without hashes it covers names and sizes, as older records have it; one of
    contents begins with BY_CONTENT, so that the two kinds are told apart.
    """
    digest = hashlib.sha256()
    for image, content in zip(images, contents or [str(image.stat().st_size) for image in images], strict=True):
        digest.update(os.fsencode(f"{image.relative_to(folder)}\0{content}\n"))
    return (BY_CONTENT if contents else "") + digest.hexdigest()[:16]


def peak_memory() -> int:
    """Return the largest resident memory of this process so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
