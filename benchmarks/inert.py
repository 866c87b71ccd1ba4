"""Pickles read as data: what a file names stays a name, so that nothing it says can be executed.

torch's own restricted reader (weights_only) refuses a whole file for one class that it does not know. It can be given
stand-ins, but none that is a dictionary or a list, and it calls the functions that it admits. Here no name is looked up
at all: an object becomes a StandIn, which notes its name and what the file says of it. `pickletools` decodes the
instructions, no value among them can be called, and the memory that they take is bounded by the pickle's size.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, NamedTuple


class Name(NamedTuple):
    """A class or function that a pickle names, as text."""

    path: str  # "torch.FloatStorage"


class Persistent(NamedTuple):
    """Something that lies outside a pickle: in torch's files a storage."""

    id: object


@dataclass(eq=False, slots=True)
class StandIn:
    """What a pickle would have made by calling something: the name of that, and all that was handed to it."""

    name: str
    args: tuple[object, ...] = ()
    state: object = None
    items: dict[object, object] = field(default_factory=dict)
    elements: list[object] = field(default_factory=list)


CONSTANTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
    *("SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE", "BINUNICODE8"),
}
LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "NEXT_BUFFER": None}
IGNORED = {"PROTO", "FRAME", "READONLY_BUFFER"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
DICTIONARY = "collections.OrderedDict"  # kept as a plain one
KEYS = (str, int, float, bytes, type(None))  # what a key may be: hashing a tuple goes as deep as the file says


def read_pickle(file: IO[bytes]) -> tuple[object, list[Persistent]]:
    """Return the content of the pickle at a file's position, and in their order what it says to lie outside of it.

    Sets become lists, and of an item only a plain key is kept. Raises ValueError for what is no pickle.
    """
    reader = _Reader()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return reader.stack.pop(), reader.outside
            reader.step(opcode.name, argument)
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"a damaged pickle ({type(error).__name__}: {error})") from error
    raise ValueError("a pickle without an end")


class _Reader:
    """The stack and the memo of a pickle's instructions."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.below: list[list[object]] = []  # the stacks beneath each mark
        self.memo: dict[int, object] = {}
        self.outside: list[Persistent] = []

    def step(self, name: str, argument: object) -> None:
        """Follow one instruction."""
        push = self.stack.append
        if name in CONSTANTS:
            push(argument)
        elif name in LITERALS:
            push(LITERALS[name])
        elif name in TUPLES:
            push(tuple(self._pop(TUPLES[name])))
        elif name in IGNORED:
            pass
        elif name in ("EMPTY_LIST", "EMPTY_SET"):
            push([])
        elif name == "EMPTY_DICT":
            push({})
        elif name == "MARK":
            self.below.append(self.stack)
            self.stack = []
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            push(self.memo[_number(argument)])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[_number(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "POP":
            self.stack.pop() if self.stack else self._to_mark()
        elif name == "DUP":
            push(self.stack[-1])
        else:
            self._make(name, argument)

    def _make(self, name: str, argument: object) -> None:
        """Follow an instruction that makes something of what lies on the stack, or adds to it."""
        match name:
            case "APPEND":
                _extend(self.stack[-2], self._pop(1))
            case "APPENDS" | "ADDITEMS":
                items = self._to_mark()
                _extend(self.stack[-1], items)
            case "SETITEM":
                pair = self._pop(2)
                _set(self.stack[-1], pair)
            case "SETITEMS":
                items = self._to_mark()
                _set(self.stack[-1], items)
            case "TUPLE" | "LIST" | "FROZENSET" | "DICT" | "POP_MARK":
                self._gather(name)
            case "GLOBAL" | "EXT1" | "EXT2" | "EXT4":
                self.stack.append(Name(str(argument).replace(" ", ".")))
            case "STACK_GLOBAL":
                module, attribute = self._pop(2)
                if not isinstance(module, str) or not isinstance(attribute, str):
                    raise TypeError("a name that is no text")
                self.stack.append(Name(f"{module}.{attribute}"))
            case "PERSID" | "BINPERSID":
                self.outside.append(Persistent(self.stack.pop() if name == "BINPERSID" else argument))
                self.stack.append(self.outside[-1])
            case "BUILD":
                (state,) = self._pop(1)
                made = self.stack[-1]
                if isinstance(made, StandIn):
                    made.state = state
            case "REDUCE" | "NEWOBJ":
                made_by, args = self._pop(2)
                self.stack.append(_made(made_by, args))
            case "NEWOBJ_EX":
                made_by, args, _ = self._pop(3)
                self.stack.append(_made(made_by, args))
            case "OBJ":
                made_by, *items = self._to_mark()
                self.stack.append(_made(made_by, tuple(items)))
            case "INST":
                items = self._to_mark()
                self.stack.append(_made(Name(str(argument).replace(" ", ".")), tuple(items)))
            case _:
                raise ValueError(f"a pickle with the unknown instruction {name}")

    def _gather(self, name: str) -> None:
        """Make one value of those above the last mark."""
        items = self._to_mark()
        if name == "TUPLE":
            self.stack.append(tuple(items))
        elif name == "DICT":
            made: dict[object, object] = {}
            _set(made, items)
            self.stack.append(made)
        elif name != "POP_MARK":
            self.stack.append(items)

    def _pop(self, count: int) -> list[object]:
        """Remove and return the topmost values, the topmost last."""
        if count > len(self.stack):
            raise LookupError("its stack is empty")
        at = len(self.stack) - count
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def _to_mark(self) -> list[object]:
        """Remove and return all values above the last mark."""
        items = self.stack
        self.stack = self.below.pop()
        return items


def _made(by: object, args: object) -> object:
    """Return what stands for the result of a call."""
    name = by.path if isinstance(by, Name) else "?"
    given = args if isinstance(args, tuple) else (args,)
    if name != DICTIONARY:
        return StandIn(name, given)
    made: dict[object, object] = {}
    if given and isinstance(given[0], list):  # as Python 2 wrote it: a list of pairs
        for pair in given[0]:
            if isinstance(pair, list | tuple) and len(pair) == 2:
                _set(made, pair)
    return made


def _set(target: object, items: Iterable[object]) -> None:
    """Add items, keys and values in turn, to a dictionary or to a stand-in for one."""
    into = target.items if isinstance(target, StandIn) else target
    if not isinstance(into, dict):
        raise TypeError("items of what is no dictionary")
    turn = iter(items)
    into.update((key, value) for key, value in zip(turn, turn, strict=True) if isinstance(key, KEYS))


def _extend(target: object, items: list[object]) -> None:
    """Add elements to a list or to a stand-in for one."""
    into = target.elements if isinstance(target, StandIn) else target
    if not isinstance(into, list):
        raise TypeError("elements of what is no list")
    into.extend(items)


def _number(argument: object) -> int:
    """Return the number of a place in the memo."""
    if not isinstance(argument, int):
        raise TypeError("a place in the memo that is no number")
    return argument
