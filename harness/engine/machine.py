"""Where a run computes: the device, the loader processes, and which of several equivalent ways its steps take."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from typing import Any

from harness.engine import distributed


@dataclass(frozen=True)
class Machine:
    """Where and how a run computes; none of it is a setting of the experiment.

    The defaults, and the fields that say so, give the same bits on a CPU.
    """

    device: str = "cpu"  # or cuda
    workers: int = 1  # loader processes; 0 loads in the main process
    augment: str = "workers"  # or device: where colours are changed; the same bits
    cache: float = 0.0  # GiB of decoded images to keep; the same bits
    reduced: bool = False  # decode JPEGs at a reduced scale where the crops allow it; changes pixels a little
    compile: bool = False  # use torch.compile for encoder and colours; changes the order of sums
    fused: bool = False  # one kernel for the optimizer's step; changes the order of sums

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown or impossible value, and for fields that exclude each other."""
        if self.augment not in ("workers", "device"):
            raise ValueError(f"--augment {self.augment}: choose device or workers")
        if not 0 <= self.cache < math.inf:
            raise ValueError(f"--cache {self.cache:g}: at least 0 GiB were expected")
        if self.cache and self.reduced:
            raise ValueError("--cache keeps whole images, --reduced decodes a part of each: choose one")

    @property
    def facts(self) -> dict[str, Any]:
        """Return all fields but the device, for the record."""
        return {name: value for name, value in vars(self).items() if name != "device"}


def machine(
    device: str | None, workers: int, augment: str | None, cache: float, reduced: bool, compile: bool,
    fused: bool | None,
) -> Machine:  # fmt: skip
    """Return the machine that these options describe; ValueError for a device that is not there.

    None stands for a GPU if there is one, and for what is fastest on the device.
    """
    refuse(device, workers)
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: torch finds no CUDA device here; `harness doctor` says more")
    cuda = device != "cpu"
    return Machine(
        own_device(device),
        workers,
        augment=augment or ("device" if cuda else "workers"),
        cache=cache,
        reduced=reduced,
        compile=compile,
        fused=cuda if fused is None else fused,
    )


def refuse(device: str | None, workers: int) -> None:
    """Raise ValueError for what no machine has; this needs no torch."""
    if workers < 0:
        raise ValueError(f"--workers {workers}: must be at least 0")
    if device is not None and not re.fullmatch("cpu|cuda(:[0-9]+)?", device):
        raise ValueError(f"--device {device}: choose cpu, cuda or cuda:N")


def own_device(device: str) -> str:
    """Return this rank's device; ValueError if a GPU is named for several ranks, or there are fewer GPUs than ranks."""
    here = distributed.world()
    if here.size == 1 or device == "cpu":
        return device
    import torch

    if device != "cuda":
        raise ValueError(f"--device {device}: each of {here.size} processes takes a GPU of its own, --device cuda")
    if here.local >= torch.cuda.device_count():
        raise ValueError(f"{here.local + 1} processes take a GPU each: there are {torch.cuda.device_count()}")
    return f"cuda:{here.local}"


def gpus(device: str | None) -> list[str]:
    """Return the ids of the GPUs that runs may share; none if they compute on the CPU or on a GPU that is named."""
    if device not in (None, "cuda"):
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def processes(count: int, gpu_count: int | None, device: str | None) -> int:
    """Return how many processes make a run; ValueError for none, or for more GPUs than there are."""
    asked = count if gpu_count is None else gpu_count
    if asked < 1:
        raise ValueError(f"{'--processes' if gpu_count is None else '--gpus'} {asked}: at least 1 was expected")
    if gpu_count and distributed.world().size == 1:
        afford(asked, gpu_count, device)
    return asked


def afford(count: int, gpu_count: int | None, device: str | None) -> None:
    """Raise ValueError if GPUs are used and are fewer than a run's processes on this machine."""
    ids = gpus(device)
    if count > len(ids) and (ids or gpu_count):
        place = f"with --device {device}" if device else "here"
        raise ValueError(f"{count} processes take a GPU each: there are {len(ids)} {place}; see `harness doctor`")
