"""Ten scenes and a written folder whose hashes are the same everywhere; `python -m tests.scenes` compares them here."""

import hashlib
import json
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL
from PIL import features

from benchmarks.scenes import DEMO
from benchmarks.scenes.compose import asset, compose
from benchmarks.scenes.folder import content, write
from benchmarks.scenes.layout import Layout, rows

GOLDEN = Path(__file__).with_name("scenes.json")
PLAIN = Layout(size=64)
CROWDED = Layout(size=64, objects=(5, 8), extent=(0.4, 0.9), distractors=(1, 3), cut=0.5, rotation=90)
TINY = Layout(size=32, extent=(0.25, 0.25), objects=(1, 3))
HUGE = Layout(size=97, extent=(1, 1), objects=(1, 3), visible=0.6)
STRONG = Layout(size=200, rotation=180, light=0.99, blur=0.1)
SCENES = {
    "demo, first train scene": (DEMO.layout, 0, "trainval", 0),
    "demo, last train scene": (DEMO.layout, 0, "trainval", 1023),
    "demo, first test scene": (DEMO.layout, 0, "test", 0),
    "study, first train scene": (Layout(), 0, "trainval", 0),
    "study, first test scene": (Layout(), 0, "test", 0),
    "crowded": (CROWDED, 1, "trainval", 2),
    "tiny": (TINY, 2, "test", 3),
    "huge": (HUGE, 3, "trainval", 4),
    "strong": (STRONG, 4, "test", 5),
    "recoloured": (Layout(recolour=0.75), 5, "trainval", 6),
}


def hashes() -> dict[str, str]:
    """Return the sha256 of each scene, of a folder's decoded content and its files, and of all assets' pixels."""
    found = {name: compose(*arguments).digest for name, arguments in SCENES.items()}
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "scenes"
        write(folder, PLAIN, {"trainval": 2, "test": 1}, 0, progress=False)
        found["content of a folder"] = content(folder)
        files = sorted([*folder.glob("JPEGImages/*"), *folder.glob("Annotations/*"), folder / "instances.jsonl"])
        found["files of a folder"] = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    pictures = hashlib.sha256()
    for row in rows():
        picture = asset.__wrapped__(row["file"])
        pictures.update(f"{row['file']} {picture.shape}\n".encode() + picture.tobytes())
    return found | {"pixels of all assets": pictures.hexdigest()}


def main() -> int:
    """Print what composed the scenes here and each that differs from the golden ones; return 1 if one does."""
    golden, found = json.loads(GOLDEN.read_text(encoding="utf-8")), hashes()
    wrong = [name for name in golden.keys() | found.keys() if golden.get(name) != found.get(name)]
    versions = f"numpy {np.__version__}, Pillow {PIL.__version__}, libwebp {features.version('webp')}"
    machine = f"Python {platform.python_version()}, {platform.machine()}"
    print(f"{versions}, {machine}: {len(found) - len(wrong)} of {len(golden)} hashes are the golden ones")
    for name in sorted(wrong):
        print(f"  differs: {name}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
