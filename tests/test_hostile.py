"""Nothing from outside is executed: files, names and settings made to do harm are refused in a line, or do none."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import pickle
import random
import shlex
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.data import voc
from benchmarks.detection.convert import convert_file
from benchmarks.resuming import strict_json
from benchmarks.resuming.checkpoints import Checkpoint, DamagedCheckpoint
from benchmarks.resuming.training import Training
from benchmarks.weights import ConvertError, names, read_backbone
from harness import experiment, plugins, records, tables, terminal
from harness.cli import main
from harness.evidence.figures import models
from harness.evidence.render import render
from harness.evidence.rows import fill_rows
from harness.experiment import Pretraining
from harness.settings import describe, digest, restore
from harness.terminal import one_line
from methods import views
from methods.recipe import Recipe
from tests.pictures import voc_folder
from tests.test_cli import SMALL, refused

LONGEST = 5.0  # seconds that anything here may take, of the process's own: the tests' machine may be busy
SETTINGS = experiment.parse(["--strategy", "location"]).settings
NAMED = f"-s0-{digest(SETTINGS)}"  # how a run's name must end to enter a table


def run_folder(results: Path, name: str, **parts: Any) -> Path:
    """A finished run of `location`, AP 50, with other parts: of text as it is, of anything else as JSON."""
    folder = results / "runs" / name
    folder.mkdir(parents=True)
    known = {"config": SETTINGS, "run": {"status": "COMPLETED"}, "scores": {"AP": 50.0}, "provenance": {}}
    for part, content in {**known, **parts}.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{part}.{'jsonl' if part == 'curve' else 'json'}").write_text(text)
    return folder


def location(results: Path, capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """The row of `location` in Table A1, and what is said on stderr."""
    assert main(["table", "A1", "--results", str(results), "--format", "json"]) == 0
    said = capsys.readouterr()
    return next(row for row in json.loads(said.out) if row["row"] == "location"), said.err


# --- code in files


class Intruder:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {shlex.quote(str(self.trace))}",)


def by_torch(content: Any, file: Path) -> None:
    torch.save(content, file)


def by_old_torch(content: Any, file: Path) -> None:
    torch.save(content, file, _use_new_zipfile_serialization=False)


def by_pickle(content: Any, file: Path) -> None:
    file.write_bytes(pickle.dumps(content))


def tiny() -> Training:
    """A training of few numbers, one step made, so that its checkpoint is small and has momentum."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return Training(model, optimizer, 1)


READERS: dict[str, Callable[[Path], object]] = {
    "checkpoint.pth": lambda file: Checkpoint(file).resume(tiny().take),
    "heads.pth": lambda file: models.fill(nn.Linear(3, 2), file),
    "backbone.pth": lambda file: read_backbone(file, "resnet18"),
    "backbone.pt": lambda file: read_backbone(file, "resnet18"),
    "backbone.pkl": lambda file: read_backbone(file, "resnet18"),
    "backbone.safetensors": lambda file: read_backbone(file, "resnet18"),
    "theirs.pth": lambda file: convert_file(file, file.with_name("detectron2.pth"), encoder="resnet18"),
}


@pytest.mark.parametrize("write", [by_torch, by_old_torch, by_pickle])
@pytest.mark.parametrize("name", READERS)
def test_weights_run_no_code(name: str, write: Callable[[Any, Path], None], tmp_path: Path) -> None:
    write({"model": Intruder(tmp_path / "trace"), "optimizer": {}, "step": 0}, tmp_path / name)
    with pytest.raises(ValueError, match=f"^[^\n]*{name}: [^\n]*$"):
        READERS[name](tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_a_pickle_among_the_weights_of_a_run_is_not_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_folder(tmp_path, "one")
    for name in ("backbone.pth", "heads.pth", "checkpoint.pth"):
        by_pickle(Intruder(tmp_path / "trace"), folder / name)
    results = ["--results", str(tmp_path), "--out", str(tmp_path / "out.pth")]
    assert "backbone.pth: a bare pickle" in refused(capsys, "export", "one", "--to", "timm", *results)
    assert "backbone.pth: not the weights" in refused(capsys, "figure", "matches", "--run", "one", *results)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("part", ["config", "run", "scores", "provenance", "curve"])
def test_json_runs_no_code(part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [f"touch {shlex.quote(str(tmp_path / 'trace'))}"]
    call = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": words}, None, None, None]}
    made = {"py/object": "subprocess.Popen", "args": words, "shell": True}
    for number, content in enumerate((call, made, {**SETTINGS, "odd": call, "strategy": made}, {"seed": call})):
        run_folder(tmp_path, f"run{number}", **{part: content})
        (tmp_path / "runs" / f"run{number}" / "detection.yaml").write_text(f"!!python/object/apply:os.system {words}")
        for line in ("show", "compare run0", "figure matches --run"):
            assert main([*line.split(), f"run{number}", "--results", str(tmp_path)]) in (0, 2)
    capsys.readouterr()
    location(tmp_path, capsys)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(("kind", "attribute"), [("strategy", "STRATEGY"), ("benchmark", "BENCHMARK")])
def test_a_record_has_no_module_imported(
    kind: str, attribute: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / f"{kind}.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n{attribute} = object\n")
    name = f"planted.{kind}"
    named = {kind: {"name": name}}
    run_folder(tmp_path, "one", config={**SETTINGS, **named})
    for line in ("figure matches --run one", "figure A1 --run one"):
        assert f"{name}, code of your own" in refused(capsys, *line.split(), "--results", str(tmp_path))
    assert not (tmp_path / "trace").exists()


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
XML = {
    "a file": '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "a file by a parameter": '<!DOCTYPE a [<!ENTITY % x SYSTEM "file:///etc/passwd"> %x;]><a/>',
    "a type elsewhere": '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
    "billion laughs": f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><a>&l11;</a>',
    "laughs by parameters": '<!DOCTYPE a [<!ENTITY % x "ha"><!ENTITY % y "&#37;x;&#37;x;"> %y;]><a/>',
    "quadratic": f'<!DOCTYPE a [<!ENTITY x "{"ha" * 50_000}">]><a>{"&x;" * 50_000}</a>',
    "an entity of none": "<a>&x;</a>",
    "nested deeply": "<a>" * 100_000,
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", XML)
def test_xml_reads_and_grows_nothing(name: str, encoding: str, tmp_path: Path) -> None:
    folder = voc_folder(tmp_path / "voc", train={"a": [("cat", 2, 2, 9, 9)]}, val={"b": [("cat", 2, 2, 9, 9)]})
    (folder / "Annotations" / "a.xml").write_bytes(XML[name].encode(encoding))
    start = time.process_time()
    with pytest.raises(voc.VocError, match=r"a.xml: (a document type or an entity|malformed XML)[^\n]*$"):
        voc.read(folder)
    assert time.process_time() - start < LONGEST


# --- names


@pytest.mark.parametrize("name", ["../../outside", "../runs/one", "..", ".", "", "/", "one/../one", "{tmp}/outside"])
def test_a_run_s_name_is_no_path(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path / "results", "one")
    run_folder(tmp_path, "outside").rename(tmp_path / "outside")
    name = name.format(tmp=tmp_path)
    results = ["--results", str(tmp_path / "results")]
    for line in (["show", name], ["compare", "one", name], ["export", name, "--to", "timm"],
                 ["figure", "A1", "--run", name], ["figure", "matches", "--run", name]):  # fmt: skip
        assert "no run" in refused(capsys, *line, *results)
    assert "no table" in refused(capsys, "table", name, *results)


def test_no_run_is_read_or_written_through_a_link(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outside = run_folder(tmp_path / "outside", "theirs")
    results = tmp_path / "results"
    linked = run_folder(results, "linked")
    (linked / "detection.log").symlink_to(tmp_path / "precious")
    (results / "runs" / "folder").symlink_to(outside)
    (results / "runs" / "loop").symlink_to("loop")
    row, said = location(results, capsys)
    assert row["n"] == 0
    assert said.count("a link that leads out of") == 2
    words = ["--strategy", "location", *SMALL[: SMALL.index("--workers")]]
    made = experiment.parse(words).run_id
    (results / "runs" / made).symlink_to(tmp_path / "outside")
    before = sorted((tmp_path / "outside").rglob("*"))
    assert "a link that leads out of" in refused(capsys, "run", *words, "--device", "cpu", "--results", str(results))
    assert sorted((tmp_path / "outside").rglob("*")) == before


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("config", "run", "scores", "provenance"):
        folder = run_folder(tmp_path, part)
        (folder / f"{part}.json").unlink()
        os.mkfifo(folder / f"{part}.json")
    _, said = location(tmp_path, capsys)
    assert said.count("not a readable record (no file)") == 4


FORMULAS = ("=cmd|' /C calc'!A0", "+1+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1")


def test_no_cell_of_csv_is_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = (tables.Column("AP", "AP"), tables.Column("=AP50", "AP50"))
    table = tables.Table("mine", dict.fromkeys(FORMULAS, "--strategy location"), columns=columns)
    monkeypatch.setitem(tables.TABLES, "mine", table)
    found = [records.read(run_folder(tmp_path, f"=1+1{NAMED}", scores={"AP": 1.5, "=AP50": 2.0}))]
    text = render("mine", fill_rows("mine", [], found), "demo", False, "csv")
    head, *lines = csv.reader(io.StringIO(text, newline=""))
    assert [line[0] for line in lines] == [f"'{terminal.visible(label)}" for label in FORMULAS]
    assert "'=AP50" in head
    for line in lines:
        cells = dict(zip(head, line, strict=True))
        assert (cells["AP"], cells["'=AP50"], cells["runs"]) == ("1.5", "2.0", f"'=1+1{NAMED}")


def test_a_terminal_is_told_nothing_to_obey(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signs = "\x1b[2J\x9b31m\r\u202e\udcff\x07"
    run_folder(tmp_path, f"odd{signs}")
    (tmp_path / "runs" / os.fsdecode(b"bytes\xff")).mkdir()
    (tmp_path / "runs" / "new\nharness: line").mkdir()
    odd = {f"name{signs}": {f"of{signs}": f"value{signs}\nnew"}}
    facts = {"run": {"status": f"RUN{signs}"}, "provenance": {**odd, "command": ["harness", "run", signs]}}
    for name in ("one", "two"):
        settings = {**SETTINGS, "data": f"{name}{signs}\nharness: line"}
        folder = run_folder(tmp_path, name, config=settings, scores={f"AP{signs}": 1.0}, **facts)
        (folder / f"file{signs}").touch()
    (folder / "scores.json").unlink()
    shows = [f"show {name}" for name in ("one", "two", "n", "odd", signs)]
    others = ["compare one two", "table A1 --why", "export one --to timm", "figure A1 --run two"]
    for line in (*shows, *others, f"run --strategy location --set lr={signs}"):
        assert main([*line.split(" "), "--results", str(tmp_path)]) in (0, 2)
        said = capsys.readouterr()
        assert [sign for sign in said.out + said.err if not sign.isprintable() and sign != "\n"] == [], line
        assert "\nharness: line" not in said.out + said.err


# --- records with other content than they should have

DEEP = {depth: "[" * depth + "]" * depth for depth in (30, 900, 100_000)}
NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "9" * 5000, "[1]", "null", "true", "[{}]")
BROKEN = (
    *('{"seed": %s, "status": %s, "AP": %s, "seconds": %s}'.replace("%s", value) for value in NUMBERS),
    *(f'{{"AP": {deep}}}' for deep in DEEP.values()),
    *(*DEEP.values(), "", "3", "[]", "null", '"AP"', '{"AP": 1', "\0"),
)
ODD = [
    *itertools.product(("config", "run", "scores", "provenance"), BROKEN),
    *(
        ("config", json.dumps({**SETTINGS, **odd}))
        for odd in ({"seed": "0"}, {"trial": [0]}, {"strategy": 3}, {"strategy": {"name": 3}})
    ),
    ("config", json.dumps({**SETTINGS, "strategy": "location", "match": 3})),
    *(
        ("provenance", json.dumps({part: value}))
        for part in ("data", "benchmark_data", "machine", "backbone", "seconds")
        for value in (3, [1])
    ),
    *(("provenance", text) for text in ('{"data": {"fingerprint": [1]}}', '{"command": 3}', '{"command": [3]}')),
    ("scores", '{"AP": "50"}'),
]


def test_an_odd_record_is_named_and_enters_no_mean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path, f"good{NAMED}")
    for number, (part, text) in enumerate(ODD):
        run_folder(tmp_path, f"odd{number}", **{part: text})
    start = time.process_time()
    row, said = location(tmp_path, capsys)
    assert time.process_time() - start < LONGEST
    assert (row["AP"], row["runs"]) == (50.0, f"good{NAMED}")
    told = said.splitlines()
    for number, (part, text) in enumerate(ODD):
        line = [one for one in told if f"odd{number}/{part}.json: not a readable record" in one]
        assert len(line) == 1, text[:80]
    for number, (part, _) in itertools.islice(enumerate(ODD), 0, None, 9):
        assert f"odd{number}/{part}.json" in refused(capsys, "show", f"odd{number}", "--results", str(tmp_path))


def test_a_record_without_a_seed_is_none_of_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path, "one", config={name: value for name, value in SETTINGS.items() if name != "seed"})
    assert location(tmp_path, capsys)[0]["n"] == 0


POINTS = (
    *("3", "[]", "{}", '{"step": 1, "epoch": "0"}', '{"step": NaN}', '{"step": 1e999}', '{"epoch": 0, "loss": 1}'),
    *('{"step": 1, "loss": "x"}', '{"step": 1, "loss": Infinity}', '{"step": 1, "loss": [1]}', DEEP[100_000]),
)


@pytest.mark.parametrize("point", POINTS, ids=range(len(POINTS)))
def test_an_odd_curve_is_named(point: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_folder(tmp_path, f"one{NAMED}", curve='{"step": 1, "epoch": 0, "loss": 1.0}\n' + point + "\n")
    results = ["--results", str(tmp_path)]
    for line in ("show one", "compare one one", "table gauges"):
        assert f"one{NAMED}/curve.jsonl: not a readable curve" in refused(capsys, *line.split(), *results)


# --- 2,000 images


def pictures() -> dict[str, bytes]:
    """Kind → an image of 40x30 px."""
    plain = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    deep, few, exif = Image.new("I;16", (40, 30), 40_000), plain.quantize(16), Image.Exif()
    exif[0x0112], exif[0x010E], turned = 3, "words" * 9, [plain.rotate(180)]

    def file(image: Image.Image, kind: str, **how: Any) -> bytes:
        out = io.BytesIO()
        image.save(out, kind, **how)
        return out.getvalue()

    return {
        **{f"JPEG {mode}": file(plain.convert(mode), "JPEG", exif=exif) for mode in ("RGB", "L", "CMYK")},
        "JPEG progressive": file(plain, "JPEG", progressive=True),
        **{f"PNG {mode}": file(plain.convert(mode), "PNG") for mode in ("RGB", "RGBA", "L", "LA", "1")},
        "PNG 16": file(deep, "PNG"),
        "PNG palette": file(few, "PNG", transparency=bytes(range(16))),
        "PNG animated": file(plain, "PNG", save_all=True, append_images=turned, exif=exif),
        "WEBP": file(plain, "WEBP", exif=exif),
        "WEBP lossless": file(plain, "WEBP", lossless=True),
        "WEBP animated": file(plain, "WEBP", save_all=True, append_images=turned),
        **{f"BMP {mode}": file(few if mode == "P" else plain.convert(mode), "BMP") for mode in ("RGB", "L", "P", "1")},
        **{f"TIFF {how}": file(plain, "TIFF", compression=how) for how in (None, "tiff_lzw", "jpeg", "packbits")},
        "TIFF CMYK": file(plain.convert("CMYK"), "TIFF"),
        "TIFF 16": file(deep, "TIFF", compression="tiff_adobe_deflate"),
    }


def png(width: int, height: int) -> bytes:
    """A PNG without pixels that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")):
        check = zlib.crc32(kind + content)
        found += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
    return found


def claiming(width: int, height: int) -> dict[str, bytes]:
    """Kind → a file without pixels whose header claims a size."""
    short = struct.pack(">HH", height & 0xFFFF, width & 0xFFFF)
    tags = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
            (278, 4, height), (279, 4, 9)]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return {
        "PNG": png(width, height),
        "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6),
        "TIFF": b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0" * 4,
        "JPEG": b"\xff\xd8\xff\xc0\0\x11\x08" + short + b"\x03\x01\x11\0\x02\x11\0\x03\x11\0\xff\xd9",
        "GIF": b"GIF89a" + short + b"\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
        "EPS": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 {width} {height}\n%%EndComments\nshowpage\n".encode(),
    }  # fmt: skip


def spoilt(raw: bytes, chance: random.Random) -> bytes:
    """A file cut, with changed bytes anywhere or in its head, or with a part twice."""
    changed, at = bytearray(raw), chance.randrange(len(raw))
    kind = chance.randrange(10)
    if kind < 2:
        return raw[:at]
    if kind == 9:
        return raw[:at] + raw[at // 2 :]
    for _ in range(chance.choice((1, 3, 20))):
        where = chance.randrange(len(raw) if kind < 6 else min(len(raw), 120))
        changed[where] = chance.choice((0, 1, 127, 255, at & 255))
    return bytes(changed)


def accepted(read: Callable[[Path], object], file: Path, error: type[Exception], longest: float = LONGEST) -> bool:
    """Whether a file is read; else it must be named in one line, and either in time."""
    start, said = time.process_time(), None
    try:
        read(file)
    except error as refusal:
        said = str(refusal)
    assert time.process_time() - start < longest
    assert said is None or (str(file) in said and said.isprintable()), said
    return said is None


def decoded(file: Path, longest: float = LONGEST) -> list[bool]:
    """Whether the pre-training and the VOC reader take a file."""
    return [
        accepted(views.read, file, views.BrokenImage, longest),
        accepted(voc.decoded, file, voc.VocError, longest),
    ]


def test_pictures_of_every_kind_are_read(tmp_path: Path) -> None:
    for kind, raw in pictures().items():
        (tmp_path / "image").write_bytes(raw)
        assert decoded(tmp_path / "image") == [True, True], kind


def test_2000_spoilt_images_are_read_or_refused(tmp_path: Path) -> None:
    chance, kinds, file = random.Random(0), pictures(), tmp_path / "image"
    taken = 0
    for raw in itertools.islice(itertools.cycle(kinds.values()), 2000):
        file.write_bytes(spoilt(raw, chance))
        taken += decoded(file)[0]
    assert 200 < taken < 1800


@pytest.mark.parametrize("size", [(100_000, 100_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (0, 0), (40, 0)])
def test_what_claims_a_size_that_it_has_not_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    for kind, raw in claiming(*size).items():
        (tmp_path / kind).write_bytes(raw)
        assert decoded(tmp_path / kind, longest=1.0) == [False, False], kind


def test_postscript_is_no_picture_even_where_it_could_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {shlex.quote(str(tmp_path / 'trace'))}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    (tmp_path / "photo.jpg").write_bytes(claiming(40, 30)["EPS"])
    assert decoded(tmp_path / "photo.jpg") == [False, False]
    assert not (tmp_path / "trace").exists()


# --- 500 weights files


def light_backbone() -> dict[str, Tensor]:
    """A ResNet-18's tensors, each one number repeated, which takes a file of little more than their names."""
    from torchvision.models import resnet18

    with torch.device("meta"):
        shapes = resnet18().state_dict()
    return {name: torch.zeros((), dtype=shapes[name].dtype).expand(shapes[name].shape) for name in names("resnet18")}


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """A file of torch's with bytes changed, cut or doubled, in the file or in the pickle within it."""
    if chance.random() < 0.4 or not zipfile.is_zipfile(io.BytesIO(raw)):
        return spoilt(raw, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, zipfile.ZipFile(out, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            other.writestr(name, spoilt(content, chance) if name.endswith("data.pkl") else content)
    return out.getvalue()


def odd_checkpoints() -> Iterator[Any]:
    """Whole files of torch's with other content than a training's."""
    good: dict[str, Any] = {"model": tiny().model.state_dict(), "optimizer": tiny().optimizer.state_dict(), "step": 1}
    yield from (None, 3, [], {}, {"model": {}}, torch.zeros(3), {1: 2, "a": torch.zeros(1)}, {**good, "model": 3})
    yield from ({**good, "step": step} for step in (-1, 1.5, "1", None, True, torch.tensor(1), [1]))
    state = good["optimizer"]["state"]
    for momentum in (torch.zeros(5), "x", torch.zeros(2, 3).to_sparse(), [1]):
        yield {**good, "optimizer": {**good["optimizer"], "state": {**state, 0: {"momentum_buffer": momentum}}}}
    yield from ({**good, "optimizer": one} for one in (None, {}, {"state": 3}, {"state": {0: 3}}))


def test_500_spoilt_weights_files_are_read_or_refused(tmp_path: Path) -> None:
    chance, file = random.Random(0), tmp_path / "checkpoint.pth"
    kinds: list[tuple[bytes, Callable[[Path], object], type[Exception]]] = []
    Checkpoint(file).save(tiny().state)
    kinds += [(file.read_bytes(), READERS["checkpoint.pth"], DamagedCheckpoint)] * 4
    for write in (by_torch, by_old_torch):
        write({"state_dict": light_backbone()}, file)
        kinds.append((file.read_bytes(), READERS["backbone.pth"], ConvertError))
        write(light_backbone(), file)
        kinds.append((file.read_bytes(), READERS["theirs.pth"], ConvertError))
    for raw, read, _ in kinds:
        file.write_bytes(raw)
        read(file)
    taken = 0
    for raw, read, error in itertools.islice(itertools.cycle(kinds), 500):
        file.write_bytes(mutated(raw, chance))
        taken += accepted(read, file, error)
    assert 0 < taken < 400


def test_odd_content_of_weights_files_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pth"
    for content in odd_checkpoints():
        torch.save(content, file)
        for name in ("checkpoint.pth", "backbone.pth", "theirs.pth"):
            error = DamagedCheckpoint if name == "checkpoint.pth" else ConvertError
            assert not accepted(READERS[name], file, error), (name, content)
    state, odd = light_backbone(), torch.zeros(64, 3, 7, 7)
    for conv in (odd.to_sparse(), odd.to(torch.complex64), odd.half()[:, :2], odd.bool(), odd + torch.nan):
        torch.save({**state, "conv1.weight": conv}, file)
        assert not accepted(READERS["backbone.pth"], file, ConvertError), conv.dtype
    numbered: dict[Any, Tensor] = {**state, 3: odd}
    torch.save(numbered, file)
    assert not accepted(READERS["theirs.pth"], file, ConvertError)


# --- 2,000 settings

HUGE = "1" + "0" * 400
VALUES = (
    *("nan", "inf", "-inf", "1e400", "-1e400", "-1", "0", "1", "7", "-0.0", "1e-400", "1e308", "0.5", "1.5", "5 "),
    *(HUGE, f"-{HUGE}", "1000000000000", "9" * 5000, "9223372036854775807", "9223372036854775808", "1_000", "0x10"),
    *("", " ", "x" * 20_000, "1," * 5_000, "٣", "½", "1,2", "1,2,3,4", ",,", "none", "true", "False", "='1'", "18"),
    *("\x1b[2J", "a\nb", "\udcff", "\0", "../..", "__class__", "cosine", "c4", "both", "biased", "scrl", "cat,dog"),
    *("person", "bf16", "SyncBN"),
)
NAMES = (
    *(
        "",
        ".",
        "..",
        "lr.",
        ".lr",
        "lr.x",
        "a.b.c",
        "match",
        "match.",
        "strategy",
        "strategy.",
        "strategy.x",
        "benchmark",
        "benchmark.",
    ),
    *("benchmark.name", "__class__", "__init__.x", "heads", "heads.", "heads.out.x", "data", "seed", "x" * 5000),
    "strategy.sampler.side.x",
)
PUBLISHED = ("voc07+12", "coco-fpn", "coco-c4")  # of resnet50, as the preset `paper` has it


def paths(settings: Any, before: str) -> Iterator[str]:
    """The dotted path of every field, those of what is absent or chosen by name included."""
    for field, hint in get_type_hints(type(settings)).items():
        if field in {one.name for one in fields(settings)}:
            value = getattr(settings, field)
            inner = next((one for one in get_args(hint) if is_dataclass(one)), None) if value is None else None
            yield before + field
            if inner or (is_dataclass(value) and not isinstance(value, type)):
                yield from paths(inner() if inner else value, f"{before}{field}.")  # type: ignore[operator]


def every_field() -> list[tuple[list[str], str]]:
    """Words that choose a strategy, a benchmark or what is chosen by name within them, and each field that it has."""
    chosen = [["--strategy", name] for name in plugins.strategy_files()]
    chosen += [["--strategy", "location", "--set", f"strategy.sampler={name}"] for name in ("uniform", "biased")]
    chosen += [["--strategy", "candidate_regions", "--set", "strategy.boxes=scrl"]]
    found = []
    for words in chosen:
        made = experiment.parse(words).backbone
        assert isinstance(made, Pretraining)
        found += [(words, path) for path in paths(made.strategy, "match.")]
    found += [(chosen[0], path) for path in paths(Recipe(), "")]
    for name in plugins.benchmark_modules():
        words = [*chosen[0], "--benchmark", name, *(["--preset", "paper"] if name in PUBLISHED else [])]
        found += [(words, path) for path in paths(plugins.benchmark(name)(), "benchmark.")]
    return [*found, *((chosen[0], name) for name in NAMES)]


def test_2000_settings_are_built_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    chance, known = random.Random(0), every_field()
    assert len(known) > 200
    built = 0
    for number, (words, path) in enumerate(itertools.islice(itertools.cycle(known), 2000)):
        line = [*words, "--set", f"{path}={chance.choice(VALUES)}"]
        start, says = time.process_time(), None
        try:
            made = experiment.parse(line)
        except ValueError as error:
            says = one_line(error)
        else:
            built += 1
            again(made)
        assert time.process_time() - start < LONGEST
        assert says is None or says.isprintable()
        if says and number % 10 == 0:
            assert refused(capsys, "run", *line) == f"harness: {says}"
    assert 100 < built < 1900


def again(made: experiment.Experiment) -> None:
    """The settings survive JSON: what is read back describes the same."""
    told = strict_json.decode(json.dumps(made.settings))
    kept = experiment.rebuild(told).settings
    assert {name: told[name] for name in kept} == json.loads(json.dumps(kept))
    judged = dict(told["benchmark"])
    benchmark = restore(plugins.benchmark(judged.pop("name"))(), judged)
    assert describe(benchmark) == describe(made.benchmark)
