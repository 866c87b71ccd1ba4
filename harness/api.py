"""The Python interface: a recorded run with its encoder and its correspondences, and tables as data frames.

Example: `run = harness.open("location-s0"); run.correspondence(*run.views(0)).pairs()`.
"""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import RESULTS, records

if TYPE_CHECKING:
    import pandas
    from PIL.Image import Image
    from torch import nn

    from harness.experiment import Pretraining
    from methods.pixsim import Loss, PixSim
    from methods.views import View


def open(run: str, results: Path | str | None = None) -> Run:
    """Return the recorded run of this name, or the only one whose name begins so.

    results is the folder that holds runs/; by default this checkout's. Raises ValueError with one line if there is no
    such run, or more than one.
    """
    return Run(records.find(Path(results or RESULTS), run))


def runs(results: Path | str | None = None) -> pandas.DataFrame:
    """Return all recorded runs as a data frame: name, strategy, seed, trial, status, day of the last try and scores.

    A run that is not finished has no scores. A folder that is not a record is left out with a warning.
    """
    import pandas

    return pandas.DataFrame([
        {"run": record.id, "strategy": record.strategy, "seed": record.settings.get("seed"),
         "trial": record.settings["trial"], "status": record.status, "date": record.started, **(record.scores or {})}
        for record in read_all(results)
    ])  # fmt: skip


def read_all(results: Path | str | None) -> list[records.Record]:
    """Return all records; what is none is left out with a warning."""
    known, broken = records.read_all(Path(results or RESULTS))
    for line in broken:
        warnings.warn(f"left out: {line}", stacklevel=3)
    return known


def table(
    name: str, results: Path | str | None = None, options: str = "", row: Mapping[str, str] | None = None
) -> pandas.DataFrame:
    """Return a table as a data frame: for each row the paper's scores, our means and spreads, n and the runs.

    name is A1, A2, coco, gauges or a dotted path; options are those that all rows share on the command line, such as
    "--preset paper --set epochs=10"; row adds rows of your own, label → options, such as {"mine": "--strategy
    mine.corners"}. A folder that is not a record is left out with a warning. Raises ValueError with one line for an
    unknown name or option.
    """
    from harness.evidence.render import frame
    from harness.evidence.rows import fill_rows
    from harness.tables import named

    columns = named(name).columns
    own = [f"{label}={line}" for label, line in (row or {}).items()]
    return frame(fill_rows(name, shlex.split(options), read_all(results), own), columns)


@dataclass(frozen=True)
class Run:
    """One recorded run. Its weights are read when they are first needed."""

    record: records.Record

    def __repr__(self) -> str:
        """Return the run's name, state and scores."""
        scores = ", ".join(f"{name} {score:.1f}" for name, score in (self.scores or {}).items())
        return f"<run {self.name}: {self.record.status}{f', {scores}' if scores else ''}>"

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.record.id

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, nested by recipe, strategy and benchmark."""
        return self.record.settings

    @property
    def scores(self) -> dict[str, float] | None:
        """Name → score, in per cent; None for a run that is not finished."""
        return self.record.scores

    @cached_property
    def curve(self) -> pandas.DataFrame:
        """Loss and gauges of the pre-training, a line for each recorded step; empty if nothing was trained."""
        import pandas

        return pandas.DataFrame(self.record.curve)

    @property
    def model(self) -> nn.Sequential:
        """The trained encoder, on the CPU and in eval mode: normalised images [B, 3, S, S] → cells [B, D, S/32, S/32].

        Its state dict has torchvision's names, without fc. Raises ValueError with one line if the weights are not
        there; git does not keep them.
        """
        return self._network.encoder

    def views(self, image: int | Path | str | Image, epoch: int = 0) -> tuple[View, View]:
        """Return the two views that the run's recipe and seed make of an image in an epoch, as batches of one.

        image is the number of one of the run's own images, which gives exactly the views that it was trained on, or a
        file, or an opened image. A view has `image` [1, 3, S, S], uint8, and `box` [1, 4] in pixels of the source.
        Raises ValueError with one line for an image that cannot be read or does not exist.
        """
        from harness.engine.images import list_images, source_folder
        from harness.evidence.figures.views import draw_views
        from harness.verbs import options
        from methods.views import mix, read

        index = 0
        if isinstance(image, int):
            files = list_images(source_folder(self._pretraining, options.CACHE))
            if not 0 <= image < len(files):
                raise ValueError(f"image {image}: the run has images 0 to {len(files) - 1}")
            index, image = image, files[image]
        source = read(Path(image)) if isinstance(image, str | Path) else image.convert("RGB")
        return draw_views(source, self._pretraining.recipe, mix(self.settings["seed"], epoch, index))

    def correspondence(self, query: View, key: View) -> Match:
        """Return what the run's strategy links in two views of one image, with the run's weights.

        Raises ValueError with one line if the strategy links nothing or the weights are not there.
        """
        from harness.evidence.figures.pairs import loss_of

        if not self._pretraining.strategy.trains:
            raise ValueError(f"run {self.name}: its strategy {self._pretraining.name} links nothing")
        return Match(self._pretraining.name, loss_of(self._network, (query, key)))

    @cached_property
    def _pretraining(self) -> Pretraining:
        """What the run trained, from its settings."""
        from harness.experiment import rebuild

        return rebuild(self.settings)

    @cached_property
    def _network(self) -> PixSim:
        """The network with the run's encoder and heads."""
        from harness.evidence.figures.models import load_run

        return load_run(self.record)


@dataclass(frozen=True)
class Match:
    """A correspondence of two views of one image: Q, K and W, and where the sites lie."""

    strategy: str
    loss: Loss

    def __repr__(self) -> str:
        """Return the number of pairs and the shapes of Q, K and W."""
        query, key, weight = self.loss.forth
        (first, second), pairs = (view.shape for view in self.loss.views), int((weight > 0).sum())
        shapes = ", ".join(f"{name} {list(part.shape)}" for name, part in zip("QKW", (query, key, weight), strict=True))
        cells = f"{first[0]} × {first[1]} and {second[0]} × {second[1]} cells"
        return f"<{self.strategy}: {pairs} of {weight[0].numel()} pairs of sites; {shapes}; {cells}>"

    def pairs(self) -> pandas.DataFrame:
        """Return one line for each pair of sites that should agree.

        The columns are the row of Q and of K, the places (x, y) of both sites in pixels of the source, and the weight.
        """
        import pandas

        from harness.evidence.figures.pairs import site_pairs

        found = site_pairs(self.loss)
        return pandas.DataFrame({
            "query": found.sites[:, 0], "key": found.sites[:, 1],
            "query_x": found.first[:, 0], "query_y": found.first[:, 1],
            "key_x": found.second[:, 0], "key_y": found.second[:, 1],
            "weight": found.weight,
        })  # fmt: skip
