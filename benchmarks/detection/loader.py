"""What a fine-tuning sees, as a function of the seed and the place in the order: nothing depends on what was before.

The data sets and the augmentation are detectron2's; the shuffles and the grouping by shape are as there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from detectron2.data import DatasetFromList, DatasetMapper, get_detection_dataset_dicts
from detectron2.data.build import trivial_batch_collator
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.resuming.loading import ignore_signals


class UnreadableImage(ValueError):
    """An image that could be read before the fine-tuning began and cannot now."""


class Samples(Dataset[dict[str, Any]]):
    """Augmented images by (place, index), each a function of the seed and the key, whatever process makes it."""

    def __init__(self, images: Any, mapper: Any, seed: int) -> None:
        """Keep the list; nothing is read yet."""
        self.images, self.mapper, self.seed = images, mapper, seed

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        """The image at `index`, augmented for `place`: detectron2 draws from numpy's generator alone."""
        place, index = key
        np.random.seed([self.seed, place])
        image = self.images[index]
        try:
            found: dict[str, Any] = self.mapper(image)
        except (OSError, SyntaxError) as error:
            raise UnreadableImage(f"{image['file_name']}: cannot be read ({error})") from error
        return found


class Batches(Sampler[list[tuple[int, int]]]):
    """The batches of (place, index) from one on: endless shuffles, wide images apart from tall ones."""

    def __init__(self, wide: Sequence[bool], batch: int, seed: int, start: int, rank: int = 0, ranks: int = 1) -> None:
        """Begin at batch `start`; `wide` tells the images apart. Of each batch one rank's share."""
        self.wide, self.batch, self.seed, self.start = wide, batch, seed, start
        self.share = slice(batch // ranks * rank, batch // ranks * (rank + 1))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield one step's keys at a time."""
        return (batch[self.share] for batch in islice(self.every(), self.start, None))

    def every(self) -> Iterator[list[tuple[int, int]]]:
        """All batches from the first one on, as detectron2's AspectRatioGroupedDataset fills them."""
        waiting: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for place, index in enumerate(shuffles(len(self.wide), self.seed)):
            group = waiting[self.wide[index]]
            group.append((place, index))
            if len(group) == self.batch:
                yield group.copy()
                group.clear()


def shuffles(count: int, seed: int) -> Iterator[int]:
    """All indices, shuffled anew each time: detectron2's TrainingSampler, which would keep a rank's part of them."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def train_loader(cfg: Any, start: int = 0) -> DataLoader[dict[str, Any]]:
    """The batches of the registered train split from one on; equal for any number of workers."""
    images = listed(cfg)
    return DataLoader(
        Samples(DatasetFromList(images, copy=False), DatasetMapper(cfg, is_train=True), cfg.SEED),
        batch_sampler=drawn(cfg, images, start, comm.get_rank(), comm.get_world_size()),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else the loader draws from the one that the model draws from
    )


def listed(cfg: Any) -> list[dict[str, Any]]:
    """The registered train split."""
    found: list[dict[str, Any]] = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    return found


def drawn(cfg: Any, images: Sequence[dict[str, Any]], start: int, rank: int = 0, ranks: int = 1) -> Batches:
    """The keys of the batches from one on, of each one rank's share."""
    wide = [image["width"] > image["height"] for image in images]
    return Batches(wide, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED, start, rank, ranks)


def batch_names(cfg: Any, step: int) -> list[str]:
    """The files of a step's batch, whichever ranks they went to, for an error."""
    images = listed(cfg)
    return [images[index]["file_name"].rpartition("/")[2] for _, index in next(iter(drawn(cfg, images, step)))]


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Let all that is random in a step of the model follow the seed, the step and the rank."""
    seed_all_rng(int(np.random.SeedSequence([seed, step, *([rank] if rank else [])]).generate_state(1)[0]))
