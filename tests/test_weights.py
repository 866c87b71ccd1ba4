"""Any checkpoint whose tensors hold the ResNet is read beside whatever else it holds, and nothing in it is executed."""

import argparse
import ast
import io
import os
import pathlib
import pickle
import struct
import sys
import types
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from benchmarks import inert
from benchmarks.inert import StandIn, read_pickle
from benchmarks.weight_files import read_tensors
from benchmarks.weights import NUMBERS, ConvertError, names, read_backbone

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    torch.manual_seed(3)
    whole = torchvision.models.resnet18().state_dict()
    return {name: tensor for name, tensor in whole.items() if not name.startswith("fc.")}


def other(state: State) -> State:
    """Another network's tensors."""
    return {name: tensor + 1 for name, tensor in state.items()}


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def numbered(state: State) -> State:
    """The names that nn.Sequential gives a ResNet's children."""
    parts = [(name.partition("."), tensor) for name, tensor in state.items()]
    return {f"{NUMBERS[part]}.{rest}": tensor for (part, _, rest), tensor in parts}


def saved(content: object, file: Path, **how: Any) -> Path:
    torch.save(content, file, **how)
    return file


def is_state(found: State, state: State) -> bool:
    return sorted(found) == sorted(names("resnet18")) and all(torch.equal(found[name], state[name]) for name in found)


# --- where the tensors lie


def scrl(state: State) -> object:
    online = {**under("encoder.", numbered(state)), "projector.layers.0.weight": torch.zeros(2, 2)}
    return {
        "tag": "200",
        "epoch": 200,
        "online_network_state_dict": online,
        "target_network_state_dict": under("encoder.", numbered(other(state))),
        "predictor_state_dict": {"layers.0.weight": torch.zeros(2, 2)},
    }


def lightly(state: State) -> object:
    slow, head = under("backbone_momentum.", numbered(other(state))), {"projection_head.weight": torch.zeros(2)}
    return {"state_dict": {**under("backbone.", numbered(state)), **slow, **head}}


def vissl(state: State) -> object:
    trunk = under("_feature_blocks.", {**state, "fc.weight": torch.zeros(2)})
    return {"classy_state_dict": {"base_model": {"model": {"trunk": trunk, "heads": {}}}}}


def deep(state: State) -> object:
    return {"checkpoint": {"model": {"state_dict": state}}, "optimizer": {"state": {0: {"buffer": torch.zeros(2)}}}}


def dino(state: State) -> object:
    return {"student": under("module.backbone.", other(state)), "teacher": under("backbone.", state)}


def byol(state: State) -> object:
    return {"online_encoder": state, "target_encoder": other(state)}


def listed(state: State) -> object:
    return {"models": [state], "epoch": 3}


FOUND: dict[Callable[[State], object], tuple[str, str, list[str], tuple[str, ...]]] = {
    scrl: (
        *("online_network_state_dict", "encoder."),
        ["projector (1)", "target_network_state_dict (120)", "predictor_state_dict (1)"],
        ("target_network_state_dict.encoder",),
    ),
    lightly: (
        *("state_dict", "backbone."),
        ["backbone_momentum (120)", "projection_head (1)"],
        ("state_dict.backbone_momentum",),
    ),
    vissl: ("classy_state_dict.base_model.model.trunk", "_feature_blocks.", ["fc (1)"], ()),
    deep: ("checkpoint.model.state_dict", "", ["optimizer (1)"], ()),
    dino: ("teacher", "backbone.", ["student (120)"], ("student.module.backbone",)),
    byol: ("online_encoder", "", ["target_encoder (120)"], ("target_encoder",)),
    listed: ("models.0", "", [], ()),
}


@pytest.mark.parametrize("make", FOUND)
def test_a_backbone_is_found_at_any_depth_and_under_numbered_names(
    make: Callable[[State], object], state: State, tmp_path: Path
) -> None:
    found = read_backbone(saved(make(state), tmp_path / "a.pth"), "resnet18")
    assert (found.within, found.prefix, found.left_out, found.others) == FOUND[make]
    assert is_state(found.state, state)


def test_a_key_chooses_among_networks(state: State, tmp_path: Path) -> None:
    file = saved(dino(state), tmp_path / "dino.pth")
    for key in ("student", "student.module.backbone"):
        found = read_backbone(file, "resnet18", key)
        assert is_state(found.state, other(state))
        assert found.others == ("teacher.backbone",)
    with pytest.raises(ConvertError, match=r"behind the key 'stud': there are 'student.module.backbone', 'teacher."):
        read_backbone(file, "resnet18", "stud")
    twins = saved({"": state, "b c": under("net.", other(state))}, tmp_path / "twins.pth")
    with pytest.raises(ConvertError, match=r"choose one with --backbone-key '' or --backbone-key 'b c.net'$"):
        read_backbone(twins, "resnet18")
    assert is_state(read_backbone(twins, "resnet18", "").state, state)
    assert is_state(read_backbone(twins, "resnet18", "b c.net").state, other(state))


# --- what lies beside them


class Settings(dict[str, object]):
    """A dictionary with attributes, as many configurations are."""


class Words(list[str]):
    """A list of a class of its own."""


class Meter:
    """An object of a user's code."""

    def __init__(self) -> None:
        self.history, self.total = [1.0, 2.0], np.float64(3)


def beside() -> dict[object, object]:
    settings, words = Settings(lr=0.1, deep=Settings()), Words("ab")
    settings.where, words.why = "here", 3  # type: ignore[attr-defined]
    configuration = argparse.Namespace(lr=0.1, out=pathlib.PosixPath("/x"), settings=settings)
    classes = (int, Meter, os.system, torch.float16, complex, range)
    values = (b"ab", 1j, slice(3), range(3), 1 << 99, {1, 2}, frozenset("a"), None, True, bytearray(b"x"))
    theirs = (torch.device("cpu"), torch.Size([2]), torch.eye(2).to_sparse())
    numbers = (np.float32(3), np.arange(4.0), np.random.default_rng(), np.dtype("<f4"))
    kinds = (configuration, words, Meter(), defaultdict(list, a=[1]), Counter("ab"))
    return {**dict(enumerate((*kinds, classes, values, theirs, numbers))), "kept": nn.Linear(2, 3)}


@pytest.mark.parametrize("protocol", range(1, 6))
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_read_whatever_lies_beside_them(zipped: bool, protocol: int, state: State, tmp_path: Path) -> None:
    how = {"pickle_protocol": protocol, "_use_new_zipfile_serialization": zipped}
    found = read_backbone(saved({**beside(), "state_dict": state}, tmp_path / "a.pth", **how), "resnet18")
    assert is_state(found.state, state)
    assert found.left_out == ["kept (2)"]


def test_a_class_that_is_not_here_is_no_obstacle(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("their_code")
    for name, base in (("Config", dict), ("Log", list), ("Point", tuple), ("Plain", object)):
        setattr(module, name, type(name, (base,), {"__module__": "their_code"}))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "their_code", module)
        made = [getattr(module, name)() for name in ("Config", "Log", "Point", "Plain")]
        made[0]["model"], made[3].depth = state, 18
        made[1].append(made)
        file = saved(made, tmp_path / "a.pth")
    assert "their_code" not in sys.modules
    assert is_state(read_backbone(file, "resnet18").state, state)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_read(zipped: bool, tmp_path: Path) -> None:
    model = torchvision.models.resnet18()
    content = {"model": nn.DataParallel(model), "epoch": 3}
    found = read_backbone(saved(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped), "resnet18")
    assert (found.prefix, found.left_out) == ("model.module.", ["fc (2)"])
    assert is_state(found.state, model.state_dict())


def odd_tensors() -> State:
    base = torch.arange(24.0).reshape(2, 3, 4)
    kinds = (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.int16, torch.int32,
             torch.int64, torch.bool, torch.complex64, torch.complex128)  # fmt: skip
    made = {str(kind).removeprefix("torch."): base.to(kind) for kind in kinds}
    made |= {"view": base[1, 1:, ::2], "turned": base.mT, "expanded": base[0, 0].expand(5, 4), "none": base[:0]}
    made |= {"scalar": base[1, 1, 1], "grad": base.clone().requires_grad_(), "parameter": nn.Parameter(base)}
    turned = torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
    return {**made, "channels_last": turned, "attribute": base + 0}


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_torch_reads(zipped: bool, tmp_path: Path) -> None:
    made = odd_tensors()
    made["attribute"].note = "mine"  # type: ignore[attr-defined]
    file = saved(made, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    ours, theirs = read_tensors(file).named, torch.load(file, weights_only=True)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].stride()) == (tensor.dtype, tensor.stride()), name
        assert torch.equal(ours[name], tensor), name


def test_a_number_format_of_8_bits_is_read(tmp_path: Path) -> None:
    made = {"a": torch.ones(3).to(torch.float8_e4m3fn)}
    assert read_tensors(saved(made, tmp_path / "a.pth")).named["a"].dtype == torch.float8_e4m3fn


# --- nothing is executed


class Calls:
    """Pickled as a call of anything, and as what is done with its result."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def hostile(trace: str) -> dict[str, object]:
    touch, code = f"touch {trace}", f"open({trace!r}, 'w')"
    chain = Calls(getattr, (Calls(__import__, ("os",)), "system"))
    return {
        "os.system": Calls(os.system, (touch,)),
        "builtins.eval": Calls(eval, (code,)),
        "builtins.exec": Calls(exec, (code,)),
        "a chain": Calls(map, (chain, [touch])),
        "torch.load": Calls(torch.load, (trace,)),
        "state": Calls(Calls, (), {"__class__": os.system, "__dict__": {}}),
        "slots": Calls(Calls, (), (None, {"__reduce__": os.system})),
        "items": Calls(OrderedDict, (), None, None, iter([(Calls(os.system, (touch,)), 3)])),
        "elements": Calls(list, (), None, iter([Calls(os.system, (touch,))])),
        "setter": Calls(Calls, (), touch, None, None, os.system),
    }


CASES = list(hostile(""))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("case", CASES)
def test_hostile_objects_beside_the_tensors_do_nothing(case: str, protocol: int, state: State, tmp_path: Path) -> None:
    content = {"first": hostile(str(tmp_path / "trace"))[case], "state_dict": state}
    file = saved(content, tmp_path / "a.pth", pickle_protocol=protocol)
    before = dict(vars(StandIn)), os.system
    found = read_backbone(file, "resnet18")
    assert is_state(found.state, state)
    assert os.listdir(tmp_path) == ["a.pth"]
    assert (dict(vars(StandIn)), os.system) == before


def archive(pickled: bytes, **storages: bytes) -> bytes:
    """A file of torch with a pickle of ours."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        made.writestr("a/data.pkl", pickled)
        for key, content in storages.items():
            made.writestr(f"a/data/{key[1:]}", content)
    return out.getvalue()


def view(size: tuple[Any, ...], stride: tuple[Any, ...], offset: Any = 0) -> bytes:
    """A pickle of one tensor, of a storage whose key is 0."""
    names = "ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI999999\ntQI{}\n({}t({}ttR."
    words = (offset, *("".join(f"I{one}\n" for one in part) for part in (size, stride)))
    return b"\x80\x02}U\x01a" + names.format(*words).encode().replace(b"R.", b"Rs.")


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (view((3,), (1,)), "'a' ends behind the 8 bytes"),
        (view((2,), (1,), offset=1), "'a' ends behind the 8 bytes"),
        (view((1 << 60, 1 << 60), (1, 1)), "'a' ends behind the 8 bytes"),
        (view((2,), (-1,)), "'a' has a size or place that is no number"),
        (view((1,), (1,), offset=-1), "'a' has a size or place that is no number"),
        (b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".", "a name of more than"),
        (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "a name of more than"),
        (b"\x80\x02Nr" + struct.pack("<I", 2**32 - 1) + b".", "it holds no tensor"),
        (b"\x80\x04B" + struct.pack("<I", 2**31 - 1) + b"a.", "expected 2147483647 bytes"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"a.", "bytes in a bytes8"),
        (b"\x80\x02h\x07.", "a damaged pickle"),
        (b"\x80\x02.", "a damaged pickle"),
        (b"\x80\x02N", "pickle exhausted before seeing STOP"),
        (b"\x80\x02]}N\x85R.", "it holds no tensor"),
    ],
)
def test_a_pickle_that_claims_what_it_has_not_is_refused(pickled: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(archive(pickled, k0=b"\0" * 8))
    with pytest.raises(ConvertError, match=says) as error:
        read_backbone(tmp_path / "a.pth", "resnet18")
    assert str(error.value).isprintable()


def doubled(count: int) -> bytes:
    """Instructions that push a list which would be written with 2 ** count brackets."""
    return b"]q\0" + b"0(h\0h\0lq\0" * count


@pytest.mark.parametrize(
    "pickled",
    [
        b"\x80\x04" + doubled(60) + b"\x8c\x01a\x93.",
        view((1,), (1,)).replace(b"V0\n", doubled(60), 1),
        b"\x80\x02}" + doubled(60) + b"Ns.",
        b"\x80\x02" + doubled(60) + doubled(60) + b"R.",
    ],
)
def test_a_list_that_would_be_endless_as_text_is_never_written_as_text(pickled: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(archive(pickled, k0=b"\0" * 8))
    with pytest.raises(ConvertError) as error:
        read_backbone(tmp_path / "a.pth", "resnet18")
    assert len(str(error.value)) < 500


def test_the_reader_of_pickles_has_nothing_to_look_a_name_up_with() -> None:
    tree = ast.parse(Path(inert.__file__).read_text(encoding="utf-8"))
    imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imports == {"__future__", "collections.abc", "dataclasses", "typing"}
    assert {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names} == {
        "pickletools"
    }
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not used & {"getattr", "setattr", "eval", "exec", "compile", "globals", "vars", "__import__", "__builtins__"}


def test_a_dictionary_that_is_shared_without_end_is_walked_once(tmp_path: Path) -> None:
    content: dict[str, object] = {"a": torch.ones(1)}
    for _ in range(60):
        content = {"x": content, "y": content}
    content["self"] = content
    assert len(read_tensors(saved(content, tmp_path / "a.pth")).named) == 1


def test_an_archive_that_grows_beyond_measure_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a/data.pkl", pickle.dumps({}))
        made.writestr("a/data/0", bytes(1 << 26))
    with pytest.raises(ConvertError, match="it would unpack to more than 16 times its size"):
        read_backbone(tmp_path / "a.pth", "resnet18")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_read_as_they_were_written(protocol: int) -> None:
    content = {"a": [1, 2.5, "ä", None, True, False, (), (1,), (1, 2, 3, 4), 1 << 70, -(1 << 2100), "x" * 300, [], {}]}
    assert read_pickle(io.BytesIO(pickle.dumps(content, protocol))) == (content, [])


# --- what a file is


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty: 0 bytes"),
        (b"<!DOCTYPE html><html>", "begins with <!DOCTYPE html>: a web page, not a download"),
        (b"\xef\xbb\xbf\n<HTML lang='en'>", "begins with <HTML lang='en'>: a web page, not a download"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer, not the file that it names"),
        (b"PK\x03\x04" + bytes(96), "cut off: 100 bytes, no zip directory"),
        (b"\x1f\x8b\x08", "a gzip archive: unpack it first"),
        (bytes(257) + b"ustar", "begins with zeros, as an unfinished download does"),
        (b"name" + bytes(253) + b"ustar", "a tar archive: unpack it first"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b'{"message": "Not Found"}', """begins with '{"message": "Not Found"}': text, not weights"""),
        (b"\xff\xd8\xff\xe0", "begins with the bytes ff d8 ff e0: neither a file of torch nor of safetensors"),
        (b"\x10\0\0\0\0\0\0\0{", "cut off: 9 bytes, of which its header alone should have 16"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_a_file_is_gets_said(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConvertError) as error:
        read_backbone(tmp_path / name, "resnet18")
    assert str(error.value).startswith(f"{tmp_path / name}: {says}")


def test_a_half_download_is_called_cut_off(state: State, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    saved(state, tmp_path / "new.pth")
    saved(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "a.safetensors")
    for name in ("new.pth", "old.pth", "a.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ConvertError, match=f"{name}: cut off: {len(whole) // 2} bytes"):
            read_backbone(tmp_path / name, "resnet18")


def test_an_archive_around_a_checkpoint_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as made:
        made.writestr("moco.pth", "")
    with pytest.raises(ConvertError, match=r"not one of torch's: unpack it first \(it holds \['moco.pth'\]\)"):
        read_backbone(tmp_path / "a.pth", "resnet18")
