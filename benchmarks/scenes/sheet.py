"""A sheet of scenes with their boxes, for a look at the data before anything is trained on it."""

from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.resuming import files
from benchmarks.scenes.compose import Scene, compose
from benchmarks.scenes.layout import CLASSES, Layout

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
TILE = 192  # pixels a side of a drawn scene
COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")  # Okabe and Ito's


def sheet(layout: Layout, seed: int, rows: int, columns: int) -> Image.Image:
    """Return the first rows × columns train scenes of a seed, each box in its class's colour and with its name."""
    whole = Image.new("RGB", (columns * TILE, rows * TILE))
    for index in range(rows * columns):
        place = (index % columns * TILE, index // columns * TILE)
        whole.paste(draw_scene(compose(layout, seed, "trainval", index)), place)
    return whole


def draw_scene(scene: Scene) -> Image.Image:
    """Return one scene, enlarged, with its boxes drawn on it."""
    image = Image.fromarray(scene.image).resize((TILE, TILE), Image.Resampling.BICUBIC)
    pen, scale = ImageDraw.Draw(image), TILE / scene.image.shape[0]
    for box, label in zip(scene.boxes, scene.labels, strict=True):
        colour = COLOURS[CLASSES.index(label) % len(COLOURS)]
        x0, y0, x1, y1 = (float(edge) for edge in np.clip(box * scale, 0, TILE - 1))
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=2)
        pen.text((x0 + 4, y0 + 2), label, fill="white", stroke_width=2, stroke_fill="black")
    return image


def check(file: Path) -> None:
    """Raise ValueError unless a sheet can be written to the file, whose ending says its format."""
    if file.suffix.lower() not in FORMATS:
        raise ValueError(f"--sheet {file}: its name must end in {', '.join(FORMATS)}")
    files.destination(file)


def write(file: Path, layout: Layout, seed: int) -> None:
    """Write a sheet of 2 × 4 scenes as an image file, whole or not at all."""
    drawn = sheet(layout, seed, rows=2, columns=4)
    file.parent.mkdir(parents=True, exist_ok=True)
    files.write(file, partial(drawn.save, format=FORMATS[file.suffix.lower()]))
