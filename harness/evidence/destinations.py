"""Where a picture or a page is written, checked before anything is drawn."""

from __future__ import annotations

from pathlib import Path

from benchmarks.resuming import files

PICTURES = (".png", ".pdf")
OTHERS = (".svg", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".eps", ".ps", ".html", ".htm", ".txt", ".csv")


def picture(out: str | None, default: Path) -> Path:
    """Return the path that --out names, in a folder with the default's name; ValueError if it cannot be written.

    As text, since a path has lost the slash at the end of a folder that does not exist yet.
    """
    if out is None:
        path = default
    else:
        path = Path(out) / default.name if out.endswith("/") or Path(out).is_dir() else Path(out)
    if path.suffix.lower() in OTHERS:
        raise ValueError(f"--out {out}: pictures are written as {' and '.join(PICTURES)}")
    for file in picture_files(path):
        files.destination(file)
    return path


def picture_files(path: Path) -> list[Path]:
    """Return the files of a picture: one of the ending that the path has, else one of each."""
    if path.suffix.lower() in PICTURES:
        return [path]
    return [path.with_name(path.name + ending) for ending in PICTURES]


def page(out: Path) -> None:
    """Raise ValueError unless a page of HTML can be written there."""
    if out.suffix.lower() not in ("", ".html", ".htm"):
        raise ValueError(f"--out {out}: the page is HTML: name it {out.stem}.html")
    files.destination(out)
