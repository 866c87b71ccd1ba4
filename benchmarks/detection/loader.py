"""The batches of a fine-tuning: each is a function of the seed and of its place in the order, not of earlier batches.

Data sets and augmentation are detectron2's, and so are the rules by which images are shuffled and grouped by shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetFromList, DatasetMapper, get_detection_dataset_dicts
from detectron2.data.build import trivial_batch_collator
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.detection.catalog import Entry
from benchmarks.resuming.loading import ignore_signals


class UnreadableImage(ValueError):
    """An image that could be read when the data was checked and cannot be read now."""


class Samples(Dataset[Entry]):
    """Augmented images by (place, index): the same seed and key give the same image in any process."""

    def __init__(self, images: DatasetFromList, mapper: DatasetMapper, seed: int) -> None:
        """Keep the list; no image is read yet."""
        self.images, self.mapper, self.seed = images, mapper, seed

    def __getitem__(self, key: tuple[int, int]) -> Entry:
        """Return the image at `index`, augmented for `place`; detectron2 draws from numpy's global generator alone."""
        place, index = key
        np.random.seed([self.seed, place])
        image = self.images[index]
        try:
            sample: Entry = self.mapper(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise UnreadableImage(f"{image['file_name']}: cannot be read ({error})") from error
        return sample


class Batches(Sampler[list[tuple[int, int]]]):
    """Endless batches of (place, index) from a given one on, in which no wide image meets a tall one."""

    def __init__(self, wide: Sequence[bool], batch: int, seed: int, start: int, rank: int = 0, ranks: int = 1) -> None:
        """Begin with batch number `start`; of each batch one rank gets its share. `wide` has one value an image."""
        self.wide, self.batch, self.seed, self.start = wide, batch, seed, start
        self.share = slice(batch // ranks * rank, batch // ranks * (rank + 1))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Yield the keys of one step after another."""
        return (batch[self.share] for batch in islice(self.every(), self.start, None))

    def every(self) -> Iterator[list[tuple[int, int]]]:
        """Yield whole batches from the first one on, as detectron2's AspectRatioGroupedDataset fills them."""
        waiting: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        for place, index in enumerate(shuffles(len(self.wide), self.seed)):
            group = waiting[self.wide[index]]
            group.append((place, index))
            if len(group) == self.batch:
                yield group.copy()
                group.clear()


def shuffles(count: int, seed: int) -> Iterator[int]:
    """Yield all indices, shuffled anew each epoch, as detectron2's TrainingSampler does on one rank."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def train_loader(cfg: CfgNode, start: int = 0) -> DataLoader[Entry]:
    """Return a loader of the train split from batch `start` on; the batches are equal for any number of workers."""
    images = train_entries(cfg)
    return DataLoader(
        Samples(DatasetFromList(images, copy=False), DatasetMapper(cfg, is_train=True), cfg.SEED),
        batch_sampler=batches_of(cfg, images, start, comm.get_rank(), comm.get_world_size()),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        worker_init_fn=ignore_signals,
        generator=torch.Generator(),  # else the loader draws from the one that the model draws from
    )


def train_entries(cfg: CfgNode) -> list[Entry]:
    """Return the registered train split."""
    entries: list[Entry] = get_detection_dataset_dicts(cfg.DATASETS.TRAIN, cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
    return entries


def batches_of(cfg: CfgNode, images: Sequence[Entry], start: int, rank: int = 0, ranks: int = 1) -> Batches:
    """Return the keys of the batches from `start` on, of each a rank's share."""
    wide = [image["width"] > image["height"] for image in images]
    return Batches(wide, cfg.SOLVER.IMS_PER_BATCH, cfg.SEED, start, rank, ranks)


def batch_names(cfg: CfgNode, step: int) -> list[str]:
    """Return the names of the files in a step's batch, on whichever ranks, for an error message."""
    images = train_entries(cfg)
    return [images[index]["file_name"].rpartition("/")[2] for _, index in next(iter(batches_of(cfg, images, step)))]


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed all generators of this process for one step of the model."""
    seed_all_rng(int(np.random.SeedSequence([seed, step, *([rank] if rank else [])]).generate_state(1)[0]))
