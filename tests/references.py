"""Oracles: the rules of METHODS written out image by image, window by window and cell by cell, in nobody's batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

SIDE = 224  # pixels of a view's side, as in the official code
Box = tuple[float, float, float, float]  # x0, y0, x1, y1


class Crop(NamedTuple):
    """Where a view lies in its source, in whole pixels, and whether it is mirrored (METHODS 0.3)."""

    top: float
    left: float
    height: float
    width: float
    flipped: bool = False

    @property
    def box(self) -> Box:
        """The signed box."""
        near, far = (self.left + self.width, self.left) if self.flipped else (self.left, self.left + self.width)
        return near, self.top, far, self.top + self.height


def to_original(u: float, v: float, crop: Crop) -> tuple[float, float]:
    """A point of a view's unit square in source pixels (METHODS 0.4)."""
    u = 1 - u if crop.flipped else u
    return crop.left + u * crop.width, crop.top + v * crop.height


def to_view(x: float, y: float, crop: Crop) -> tuple[float, float]:
    """A source point in a view's unit square (METHODS 0.4)."""
    u, v = (x - crop.left) / crop.width, (y - crop.top) / crop.height
    return (1 - u if crop.flipped else u), v


def intersection(first: Crop, second: Crop) -> Box | None:
    """The overlap of two crops in source pixels, None where it is empty (METHODS 6, step 1)."""
    left, top = max(first.left, second.left), max(first.top, second.top)
    right = min(first.left + first.width, second.left + second.width)
    bottom = min(first.top + first.height, second.top + second.height)
    return (left, top, right, bottom) if right > left and bottom > top else None


def windows(side: int, stride: int) -> list[Box]:
    """ReSim's windows in view pixels, y outer and x inner; one that reaches the far edge is dropped (METHODS 5.1)."""
    found: list[Box] = []
    for y in range(0, SIDE, stride):
        for x in range(0, SIDE, stride):
            if x + side < SIDE and y + side < SIDE:
                found.append((x, y, x + side, y + side))
    return found


def carry_window(window: Box, query: Crop, key: Crop) -> Box | None:
    """A window of one view in the pixels of the other, None unless it lies in it (METHODS 5.1, 5.4).

    Mirrored views are unmirrored before the bounds are asked, of which the right and lower ones are exclusive.
    """
    x0, y0, x1, y1 = window
    if query.flipped:
        x0, x1 = SIDE - x1, SIDE - x0
    corners = []
    for x, y in ((x0, y0), (x1, y1)):
        source_x, source_y = query.width * x / SIDE + query.left, query.height * y / SIDE + query.top
        corners.append(((source_x - key.left) * SIDE / key.width, (source_y - key.top) * SIDE / key.height))
    (x0, y0), (x1, y1) = corners
    if x0 < 0 or y0 < 0 or x1 >= SIDE or y1 >= SIDE:
        return None
    return (SIDE - x1, y0, SIDE - x0, y1) if key.flipped else (x0, y0, x1, y1)


def resim_pairs(query: Crop, key: Crop, side: int, stride: int) -> list[tuple[Box, Box | None]]:
    """Every window of a view with its place in the other (METHODS 5.1, 5.4)."""
    return [(window, carry_window(window, query, key)) for window in windows(side, stride)]


def scrl_boxes(
    first: Crop,
    second: Crop,
    randint: Callable[[int, int], int],
    count: int = 10,
    min_side: int = 32,
    limit: float = 0.5,
    tries: int = 50,
) -> list[tuple[Box, Box]]:
    """SCRL's boxes in the pixels of both views, jitter off (METHODS 5.3); randint(low, high) draws from [low, high)."""
    shared = intersection(first, second)
    if shared is None:
        return []
    scales = [(SIDE / view.width, SIDE / view.height) for view in (first, second)]
    scale = min(scales[0][0], scales[1][0]), min(scales[0][1], scales[1][1])
    width, height = round((shared[2] - shared[0]) * scale[0]), round((shared[3] - shared[1]) * scale[1])
    if min_side >= width or min_side >= height:
        return []
    found: list[tuple[Box, Box]] = []
    for _ in range(count):
        for _ in range(tries):
            box = scrl_candidate(width, height, min_side, randint)
            pair = tuple(
                scrl_place(box, view, shared, scale, own) for view, own in zip((first, second), scales, strict=True)
            )
            if all(iou(pair[0], earlier) < limit for earlier, _ in found):
                break
        found.append((pair[0], pair[1]))
    return [(clip(one), clip(other)) for one, other in found]


def scrl_candidate(width: int, height: int, min_side: int, randint: Callable[[int, int], int]) -> Box:
    """One try, in SCRL's order of draws: parts, cell, side and start, x before y each (METHODS 5.3, step 3)."""
    across, down = randint(1, width // min_side + 1), randint(1, height // min_side + 1)
    column, row = randint(0, across), randint(0, down)
    cell_width, cell_height = width / across, height / down
    box_width, box_height = randint(min_side, int(cell_width + 1)), randint(min_side, int(cell_height + 1))
    x = randint(0, int(cell_width - box_width + 1)) + int(column * cell_width)
    y = randint(0, int(cell_height - box_height + 1)) + int(row * cell_height)
    return x, y, x + box_width, y + box_height


def scrl_place(box: Box, view: Crop, shared: Box, scale: tuple[float, float], own: tuple[float, float]) -> Box:
    """A box of the coarser pixel grid in the pixels of a view (METHODS 5.3, step 4)."""
    x0, x1 = (x / scale[0] * own[0] + (shared[0] - view.left) * own[0] for x in (box[0], box[2]))
    y0, y1 = (y / scale[1] * own[1] + (shared[1] - view.top) * own[1] for y in (box[1], box[3]))
    return (SIDE - x1, y0, SIDE - x0, y1) if view.flipped else (x0, y0, x1, y1)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def clip(box: Box) -> Box:
    """A box cut at the view's edges."""
    x0, y0, x1, y1 = (min(max(edge, 0.0), float(SIDE)) for edge in box)
    return x0, y0, x1, y1


def triangle(t: float) -> float:
    """The integral of the unit triangle up to t, piece by piece (METHODS 5.2)."""
    if t <= -1:
        return 0.0
    if t < 0:
        return (t + 1) ** 2 / 2
    if t < 1:
        return 1 - (1 - t) ** 2 / 2
    return 1.0


def prroi_row(box: Box, height: int, width: int) -> list[float]:
    """The weight of every cell, row-major, in Precise RoI pooling of a box in cell units to 1 × 1 (METHODS 5.2)."""
    a, c, b, d = box
    if a == b or c == d:
        return [0.0] * (height * width)
    row = []
    for m in range(height):
        for n in range(width):
            across, down = triangle(b - n) - triangle(a - n), triangle(d - m) - triangle(c - m)
            row.append(across * down / ((b - a) * (d - c)))
    return row


def pixpro_coordinates(crop: Crop, width: int, height: int) -> Box:
    """PixPro's coordinates of a crop of a source of width × height pixels (METHODS 4.1)."""
    x0, x1 = crop.left / max(width - 1, 1), (crop.left + crop.width - 1) / max(width - 1, 1)
    y0, y1 = crop.top / max(height - 1, 1), (crop.top + crop.height - 1) / max(height - 1, 1)
    return (x1, y0, x0, y1) if crop.flipped else (x0, y0, x1, y1)


def pixpro_mask(query: Box, key: Box, cells: int, ratio: float) -> Tensor:
    """Which of cells² × cells² pairs of cells lie closer than ratio diagonals of the larger (METHODS 4.2)."""
    centres, diagonals = [], []
    for x0, y0, x1, y1 in (query, key):
        width, height = (x1 - x0) / cells, (y1 - y0) / cells
        diagonals.append(math.hypot(width, height))
        centres.append([
            ((column + 0.5) * width + x0, (row + 0.5) * height + y0) for row in range(cells) for column in range(cells)
        ])  # fmt: skip
    mask = torch.zeros(cells**2, cells**2)
    for q, here in enumerate(centres[0]):
        for k, there in enumerate(centres[1]):
            mask[q, k] = math.dist(here, there) / max(diagonals) < ratio
    return mask


def pixpro_loss(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """PixPro's loss of one direction for unit q, k [B, N, C], from all logits [B, N, N] (METHODS 4.2)."""
    logits = torch.bmm(q, k.transpose(1, 2))
    return -2 * ((logits * mask).sum((1, 2)) / (mask.sum((1, 2)) + 1e-6)).mean()


def densecl_match(query: Tensor, key: Tensor) -> list[int]:
    """For each cell of query [N, D] the most similar cell of key [M, D], the first of equals (METHODS 3.1)."""
    query_hat, key_hat = ([row / row.norm() for row in rows] for rows in (query, key))
    found = []
    for q in query_hat:
        best, match = -math.inf, 0
        for index, k in enumerate(key_hat):
            alike = float(q @ k)
            if alike > best:
                best, match = alike, index
        found.append(match)
    return found


def read(cells: Tensor, u: float, v: float) -> Tensor:
    """A map [C, H, W] bilinearly at a point of its unit square; it goes on beyond its outer centres (METHODS 2.5)."""
    height, width = cells.shape[1:]
    x, y = min(max(u * width - 0.5, 0), width - 1), min(max(v * height - 0.5, 0), height - 1)
    column, row = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
    right, below = min(column + 1, width - 1), min(row + 1, height - 1)
    across, down = x - column, y - row
    upper = (1 - across) * cells[:, row, column] + across * cells[:, row, right]
    lower = (1 - across) * cells[:, below, column] + across * cells[:, below, right]
    return (1 - down) * upper + down * lower


def cross_entropy(p: Tensor, z: Tensor) -> Tensor:
    """d of two vectors [C], temperature 1, the target without gradient (METHODS 2.4)."""
    return -(z.detach().softmax(0) * p.log_softmax(0)).sum()


def location_loss(
    crops: Sequence[tuple[Crop, Crop]], p: tuple[Tensor, Tensor], z: tuple[Tensor, Tensor], side: int = 7
) -> Tensor:
    """The symmetrised loss of predictions and projections [B, C, H, W] of two views on a regular grid (METHODS 6)."""
    losses = []
    for n, (first, second) in enumerate(crops):
        shared = intersection(first, second)
        if shared is None:
            continue
        points = []
        for row in range(side):
            for column in range(side):
                x = shared[0] + (column + 0.5) / side * (shared[2] - shared[0])
                y = shared[1] + (row + 0.5) / side * (shared[3] - shared[1])
                here, there = to_view(x, y, first), to_view(x, y, second)
                forth = cross_entropy(read(p[0][n], *here), read(z[1][n], *there))
                back = cross_entropy(read(p[1][n], *there), read(z[0][n], *here))
                points.append((forth + back) / 2)
        losses.append(torch.stack(points).mean())
    return torch.stack(losses).mean() if losses else 0 * p[0].sum()


def pointrend_points(
    count: int,
    k: float,
    beta: float,
    rand: Callable[[int], list[tuple[float, float]]],
    uncertainty: Callable[[float, float], float],
) -> list[tuple[float, float]]:
    """PointRend's points of one image: the most uncertain first, then fresh ones (METHODS 8.1)."""
    candidates = rand(int(k * count))
    ranked = sorted(candidates, key=lambda point: -uncertainty(*point))
    hard = int(beta * count)
    return ranked[:hard] + rand(count - hard)


def region_loss(
    features: tuple[Tensor, Tensor],
    z: tuple[Tensor, Tensor],
    project: Callable[[Tensor], Tensor],
    predict: Callable[[Tensor], Tensor],
    tau: float = 0.1,
) -> Tensor:
    """The released contrast of regions, of features [B, C, K] and projections [B, N, K] of two views (METHODS 7.1)."""
    images, regions = z[0].shape[:2]
    projected, predicted = [], []
    for feature, marks in zip(features, z, strict=True):
        rows = []
        for n in range(images):
            masks = marks[n].softmax(0)
            rows += [(masks[region] * feature[n]).sum(1) for region in range(regions)]
        projected.append(project(torch.stack(rows)))
        predicted.append(predict(projected[-1]))
    total = features[0].new_zeros(())
    for p, target in ((predicted[0], projected[1]), (predicted[1], projected[0])):
        for n in range(images):
            own = range(n * regions, (n + 1) * regions)
            for here in own:
                alike = torch.stack(
                    [p[here] @ target[there] / (p[here].norm() * target[there].norm()) for there in own]
                )
                total = total - (alike / tau).log_softmax(0)[here - n * regions] / (images * regions)
    return total / 2
