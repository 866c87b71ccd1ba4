"""Files of torch and of safetensors: every tensor in them by its name, without executing anything.

A file is known by its content, whatever it is called: torch's zip archives, its files from before 1.6, and safetensors.
"""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.inert import Name, Persistent, StandIn, read_pickle
from benchmarks.resuming import strict_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAGIC = (bytes.fromhex("6cfc9c46f9206aa85019"), b"119547037146038801333356")  # of torch before 1.6, binary or text
KINDS = {  # first bytes → what the file is
    b"version https://git-lfs": "a Git LFS pointer, not the file that it names: `git lfs pull` fetches that",
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes: not one of torch's",
    b"\x80": "a bare pickle, as detectron2's .pkl are, and no file of torch.save:"
    " give the .pth or .safetensors that it was made from",
    b"\0\0\0\0\0\0\0\0": "begins with zeros, as an unfinished download does",
}
STORAGES = {  # torch's class of a storage → the number format in it
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
VIEWS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"}
PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
MODULE = ("_parameters", "_buffers", "_modules")  # the parts of a whole model, which its names do not have
DEEPEST, LONGEST = 100, 1000  # dictionaries within each other, and characters of a name
UNPACKED = 16  # at most so many times the file's size, which weights never reach


class Tensors(NamedTuple):
    """What a file holds."""

    named: dict[str, Tensor]  # every tensor; one in an inner dictionary is named `key.name`
    dictionaries: list[str]  # the names of all dictionaries, each with a dot at its end; "" is the outermost


def read_tensors(file: Path) -> Tensors:
    """Return every tensor of a file at any depth; ValueError says what the file is if it is none of torch's."""
    size = file.stat().st_size
    with open(file, "rb") as opened:
        head = opened.read(512)
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(file, size)
    if any(magic in head[:40] for magic in MAGIC):
        return _read_older(file, size)
    if head[5:9] == b"\0\0\0{":  # behind the length of a header below 1 TiB
        return _read_safetensors(file, size, int.from_bytes(head[:8], "little"))
    raise ValueError(_kind(head))


def _kind(head: bytes) -> str:
    """Return what a file is that begins with these bytes."""
    if not head:
        return "empty: 0 bytes"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:14].lower() == b"<!doctype html" or text[:5].lower() == b"<html":
        tag = text.partition(b">")[0][:40].decode("ascii", "replace")
        return f"begins with {tag}>: a web page, not a download"
    for first, kind in KINDS.items():
        if head.startswith(first):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    start = text[:40].decode("utf-8", "ignore")
    if start and all(character.isprintable() or character.isspace() for character in start):
        return f"begins with {start!r}: text, not weights"
    return f"begins with the bytes {head[:8].hex(' ')}: neither a file of torch nor of safetensors"


def _read_safetensors(file: Path, size: int, header: int) -> Tensors:
    from safetensors import torch as safetensors

    with open(file, "rb") as opened:
        opened.seek(8)
        text = opened.read(min(header, size))
    if len(text) < header:
        raise ValueError(f"cut off: {size} bytes, of which its header alone should have {header}")
    ends = [
        entry["data_offsets"][1] for name, entry in strict_json.decode(text.decode()).items() if name != "__metadata__"
    ]
    if size < 8 + header + max(ends, default=0):
        raise ValueError(f"cut off: {size} bytes of {8 + header + max(ends)}")
    return Tensors(safetensors.load_file(file), [""])


def _read_zip(file: Path, size: int) -> Tensors:
    """Read an archive as torch.save has written it since 1.6; a compressed one may not grow beyond measure."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile as error:
        raise ValueError(f"cut off: {size} bytes, no zip directory") from error
    with archive:
        members = archive.namelist()
        pickles = sorted((name for name in members if f"/{name}".endswith("/data.pkl")), key=len)
        if not pickles:
            raise ValueError(f"a zip archive, but not one of torch's: unpack it first (it holds {members[:3]})")
        if sum(member.file_size for member in archive.infolist()) > UNPACKED * size:
            raise ValueError(f"it would unpack to more than {UNPACKED} times its size, as no weights do")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("written on a big-endian machine")
        content, _ = read_pickle(BytesIO(archive.read(pickles[0])))
        return _collect(content, lambda key: bytearray(archive.read(f"{root}data/{key}")))


def _read_older(file: Path, size: int) -> Tensors:
    """Read a file as torch.save wrote it before 1.6: five pickles and behind them the storages, in a stated order."""
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        pickles = [read_pickle(mapped) for _ in range(5)]  # type: ignore[arg-type]  # typeshed: mmap is no IO
        (content, outside), (order, _) = pickles[3:]
        widths = {key: _format(storage).itemsize for one in outside if (key := _key(one)) and (storage := _class(one))}
        storages = {}
        for key in order if isinstance(order, list) else []:
            if not isinstance(key, str | int):
                raise ValueError("damaged: a storage whose name is no text")
            count = int.from_bytes(mapped.read(8), "little") * widths[str(key)]
            if count > size - mapped.tell():
                raise ValueError(f"cut off: {size} bytes of at least {mapped.tell() + count}")
            storages[str(key)] = bytearray(mapped.read(count))
    return _collect(content, storages.__getitem__)


def _class(storage: Persistent) -> str:
    """Return the class of a storage, without its module."""
    name = storage.id[1] if isinstance(storage.id, tuple) and len(storage.id) > 4 else None
    return name.path.rpartition(".")[2] if isinstance(name, Name) else ""


def _key(storage: Persistent) -> str:
    """Return the name of a storage within its file."""
    key = storage.id[2] if isinstance(storage.id, tuple) and len(storage.id) > 4 else None
    return str(key) if isinstance(key, str | int) else ""


def _format(name: str) -> torch.dtype:
    """Return a number format by the name of a storage's class, or by its own: "torch.float8_e4m3fn"."""
    import torch

    found = vars(torch).get(STORAGES.get(name, name.removeprefix("torch.")))
    if not isinstance(found, torch.dtype):
        raise ValueError(f"a tensor of the unknown number format {name!r}")
    return found


def _collect(content: object, read: Callable[[str], bytearray]) -> Tensors:
    """Return every tensor at any depth of a file's content; `read` returns a storage's bytes."""
    storages: dict[str, bytearray] = {}
    named: dict[str, Tensor] = {}
    dictionaries: list[str] = []
    for name, found in _walk(content, "", dictionaries, {id(content)}):
        for storage in found.args[:1]:
            if isinstance(storage, Persistent) and (key := _key(storage)) not in storages:
                storages[key] = read(key)
        named.setdefault(name, _tensor(name, found, storages))
    return Tensors(named, dictionaries)


def _walk(value: object, name: str, dictionaries: list[str], seen: set[int]) -> Iterator[tuple[str, StandIn]]:
    """Yield what stands for each tensor, by its name, and note the names of the dictionaries on the way."""
    if isinstance(value, dict):
        dictionaries.append(f"{name}." if name else "")
    for key, inner in _parts(value):
        if not isinstance(inner, dict | list | tuple | StandIn):
            continue
        whole = f"{name}.{key}" if name else key
        if len(whole) > LONGEST or whole.count(".") > DEEPEST:
            raise ValueError(f"a name of more than {LONGEST} characters or {DEEPEST} parts: {whole[:60]!r} …")
        if tensor := _view(inner):
            yield whole, tensor
        elif id(inner) not in seen:
            seen.add(id(inner))
            yield from _walk(inner, whole, dictionaries, seen)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what a dictionary, a list or an object holds, by its name, which for a module's parts is theirs alone."""
    if isinstance(value, dict):
        yield from ((_text(key), inner) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(place), inner) for place, inner in enumerate(value))
    elif isinstance(value, StandIn):
        yield from _parts(value.items)
        yield from _parts(value.elements)
        for state in value.state if isinstance(value.state, tuple) else (value.state,):
            held = state if isinstance(state, dict) else {}
            for key, inner in held.items():
                yield from _parts(inner) if key in MODULE else ((_text(key), inner),)


def _text(key: object) -> str:
    """Return a dictionary's key as text."""
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _view(value: object) -> StandIn | None:
    """Return what stands for a tensor, out of a parameter or a class of its own that it may be wrapped in."""
    for _ in range(DEEPEST):
        if not isinstance(value, StandIn):
            return None
        if value.name in VIEWS or value.name == "torch._utils._rebuild_meta_tensor_no_storage":
            return value
        if value.name in PARAMETERS and value.args:
            value = value.args[0]
        elif value.name == "torch._tensor._rebuild_from_type_v2" and len(value.args) > 2:
            made_by, args = value.args[0], value.args[2]
            value = StandIn(made_by.path, args) if isinstance(made_by, Name) and isinstance(args, tuple) else None
        else:
            return None
    return None


def _tensor(name: str, found: StandIn, storages: Mapping[str, bytearray]) -> Tensor:
    """Return a tensor that shares the bytes of its storage; ValueError if it does not lie within them."""
    import torch

    if found.name not in VIEWS:
        dtype, size, *_ = found.args
        return torch.empty(
            _whole(name, size), dtype=_format(dtype.path if isinstance(dtype, Name) else ""), device="meta"
        )
    storage, offset, size, stride, *others = found.args
    dtype = others[2] if found.name.endswith("v3") else None
    if not isinstance(storage, Persistent):
        raise ValueError(f"{name!r} has no storage")
    kind = _format(dtype.path if isinstance(dtype, Name) else _class(storage))
    if isinstance(storage.id, tuple) and len(storage.id) > 5 and isinstance(storage.id[5], tuple):
        offset = _whole(name, (offset,))[0] + _whole(name, storage.id[5][1:2])[0]  # a view of a storage: torch 0.1
    shape, steps, (start,) = _whole(name, size), _whole(name, stride), _whole(name, (offset,))
    content = storages[_key(storage)]
    last = start + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if prod(shape) == 0:
        return torch.empty(shape, dtype=kind)
    if (last + 1) * kind.itemsize > len(content):
        raise ValueError(f"cut off or damaged: {name!r} ends behind the {len(content)} bytes of its storage")
    return torch.frombuffer(content, dtype=kind, count=len(content) // kind.itemsize).as_strided(shape, steps, start)


def _whole(name: str, numbers: object) -> tuple[int, ...]:
    """Return whole numbers that are not negative."""
    if isinstance(numbers, StandIn) and numbers.name == "torch.Size":
        (numbers,) = numbers.args
    if not isinstance(numbers, tuple | list) or not all(isinstance(one, int) and one >= 0 for one in numbers):
        raise ValueError(f"{name!r} has a size or place that is no number")
    return tuple(numbers)
