"""No test writes into the checkout, and a slow machine adds no lines to what a test reads."""

import math
from collections.abc import Iterator

import pytest

from benchmarks.resuming import progress
from harness.verbs import options


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Embedded data is composed in a temporary folder, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(options, "CACHE", folder)
        patch.setattr(progress, "SOONEST", math.inf)  # a slow machine may take long for little work
        yield
