"""By which code a run is made: numbers that its pre-training computes, its benchmark's code and the user's own files.

Two runs are of the same code if all three agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from harness.settings import Json

TOLERANCE = 1e-4  # relative, within which reference numbers agree
LEAST = 1e-6  # a difference that never counts, where a number itself is near 0


class Code(NamedTuple):
    """What of the code a run's scores depend on; None for what is not recorded."""

    reference: tuple[float, ...]  # of the pre-training; none where the backbone came as a file
    benchmark: str  # hash of the benchmark's code in this checkout
    files: dict[str, str]  # of the user's own → hash

    @property
    def facts(self) -> Json:
        """Return it as a record has it."""
        return {"reference": list(self.reference), "benchmark": self.benchmark, "files": self.files}

    def differences(self, other: Code) -> list[str]:
        """Return in what another code differs, a phrase each; none if both are the same code."""
        names = sorted({*self.files, *other.files})
        pairs = {name: (self.files.get(name, "no file"), other.files.get(name, "no file")) for name in names}
        return [
            *(f"{name} ({mine}, now {its})" for name, (mine, its) in pairs.items() if mine != its),
            *([] if agree(self.reference, other.reference) else [steps_apart(self.reference, other.reference)]),
            *(
                []
                if self.benchmark == other.benchmark
                else [f"the benchmark ({self.benchmark}, now {other.benchmark})"]
            ),
        ]


def recorded(provenance: Json) -> Code | None:
    """Return the code that a record's provenance names; None for a record that is older than this."""
    match provenance.get("code"):
        case {"reference": [*numbers], "benchmark": str(benchmark), "files": {**files}}:
            return Code(tuple(numbers), benchmark, {str(name): str(digest) for name, digest in files.items()})
    return None


def agree(first: Sequence[float], second: Sequence[float]) -> bool:
    """Return whether reference numbers are those of the same computation."""
    return len(first) == len(second) and all(
        math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=LEAST) for one, other in zip(first, second, strict=True)
    )


def steps_apart(first: Sequence[float], second: Sequence[float]) -> str:
    """Return the first reference numbers that do not agree, as a phrase."""
    pairs = [(one, other) for one, other in zip(first, second, strict=False) if not agree([one], [other])]
    one, other = pairs[0] if pairs else (len(first), len(second))
    return f"what its pre-training computes (reference steps {one:.6g}, now {other:.6g})"
