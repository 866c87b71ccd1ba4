"""Running, recording and tabulating: the part that alone knows both methods and benchmarks."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import open, runs, table

__all__ = ["RESULTS", "ROOT", "__version__", "open", "runs", "table"]

# Spinning OpenMP threads slow everything down 7 to 10 times as soon as another process wants the cores;
# it must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0.dev0"  # the one place: setup.cfg and `harness --version` read it here

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results"  # where records lie unless --results names another folder

for sibling in ("methods", "benchmarks"):  # generic names: a stranger's package must not take their place
    spec = find_spec(sibling)
    if spec is None or not spec.origin or Path(spec.origin).resolve().parent.parent != ROOT:
        raise ImportError(f"the package {sibling!r} that Python finds is not the one beside harness in {ROOT}")


def __getattr__(name: str) -> object:
    """Return a function of harness/api.py, which is imported when the first one is asked for."""
    if name not in ("open", "runs", "table"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from harness import api

    return getattr(api, name)
