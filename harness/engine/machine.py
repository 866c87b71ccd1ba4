"""Where a run computes: the device of this process, loader processes, and which of the equal ways a step takes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from harness.engine import distributed


@dataclass(frozen=True)
class Machine:
    """Where a run is made; its defaults, and what says so, change no bit of a CPU's result."""

    device: str = "cpu"  # or cuda
    workers: int = 1  # loader processes; 0 loads in the main process
    augment: str = "workers"  # or device: where colours are changed, to the same bits
    cache: float = 0.0  # GiB of decoded images to keep, the same bits
    reduced: bool = False  # whether to decode JPEGs at a reduced scale where the crops allow; changes pixels a little
    compile: bool = False  # whether torch.compile makes the kernels of encoder and colours; changes the order of sums
    fused: bool = False  # whether the optimizer's step is one kernel; changes the order of sums

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.augment not in ("workers", "device"):
            raise ValueError(f"--augment {self.augment}: choose device or workers")
        if not 0 <= self.cache < math.inf:
            raise ValueError(f"--cache {self.cache:g}: at least 0 GiB were expected")
        if self.cache and self.reduced:
            raise ValueError("--cache keeps whole images, --reduced decodes a part of each: choose one")

    @property
    def path(self) -> dict[str, Any]:
        """Which way a run takes, for its record."""
        return {name: getattr(self, name) for name in ("workers", "augment", "cache", "reduced", "compile", "fused")}


def machine(
    device: str | None, workers: int, augment: str | None, cache: float, reduced: bool, compile: bool,
    fused: bool | None,
) -> Machine:  # fmt: skip
    """The machine of these options, where None is a GPU if there is one, and what is fast there; ValueError else."""
    import torch

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if workers < 0:
        raise ValueError(f"--workers {workers}: must be at least 0")
    if device != "cpu" and not device.startswith("cuda"):
        raise ValueError(f"--device {device}: choose cpu, cuda or cuda:N")
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


def own_device(device: str) -> str:
    """This rank's of the GPUs; ValueError where there are too few for a machine's ranks, or one is named."""
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
    """The GPUs that runs may share; none where they compute on the CPU, or on one that is named."""
    if device not in (None, "cuda"):
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def processes(count: int, gpu_count: int | None, device: str | None) -> int:
    """How many processes make a run, a GPU each if so many GPUs are asked for; ValueError for none, or too few GPUs."""
    asked = count if gpu_count is None else gpu_count
    if asked < 1:
        raise ValueError(f"{'--processes' if gpu_count is None else '--gpus'} {asked}: at least 1 was expected")
    if gpu_count and distributed.world().size == 1:
        afford(asked, gpu_count, device)
    return asked


def afford(count: int, gpu_count: int | None, device: str | None) -> None:
    """ValueError where GPUs are to be used and are fewer than a run's processes on this machine."""
    there = gpus(device)
    if count > len(there) and (there or gpu_count):
        place = f"with --device {device}" if device else "here"
        raise ValueError(f"{count} processes take a GPU each: there are {len(there)} {place}; see `harness doctor`")
