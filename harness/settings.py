"""Settings as options and as records: FIELD=VALUE changes one field of a frozen dataclass, `describe` writes all."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.plugins import UnknownName, unknown
from methods.boxes import BOXES, Boxes
from methods.sampling import SAMPLERS, Sampler
from methods.similarity import SIMILARITIES, Similarity

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")
Json = dict[str, Any]  # an object as a record has it
Options = TypeVar("Options", bound="DataclassInstance")
CHOICES: dict[object, Mapping[str, object]] = {  # a field's type → what it may be
    Sampler: SAMPLERS,
    Boxes: BOXES,
    Similarity: SIMILARITIES,
}
NUMBERS = {int: "a whole number", float: "a number"}


class BadValue(ValueError):
    """Value that a field cannot take."""


@cache
def hints_of(kind: type[DataclassInstance]) -> dict[str, object]:
    """Return field → type; without the cache it would be most of the time of `restore`."""
    return get_type_hints(kind)


def assign(settings: Settings, path: str, text: str, owner: str = "") -> Settings:
    """Return the settings with the field at a dotted path set from text, for instance sampler.side=5.

    owner is what the user typed before the path, such as "strategy."; every error begins with it and the path. Raises
    UnknownName for a field that does not exist, BadValue for a value of the wrong kind, and whatever ValueError the
    settings themselves raise for a value out of range.
    """
    name, _, rest = path.partition(".")
    hints = hints_of(type(settings))
    known = [field.name for field in fields(settings)]
    if not known:
        raise UnknownName(f"no field {owner + name!r}: there are none to set")
    if name not in known:
        raise unknown("field", name, known, owner)
    current = getattr(settings, name)
    if rest and current is None and is_dataclass(get_args(hints[name])[0]):
        current = get_args(hints[name])[0]()  # absent so far: its fields are set on its defaults
    if rest and not is_dataclass(current):
        raise UnknownName(f"no field {owner + path!r}: {name} has no fields of its own")
    value = assign(current, rest, text, f"{owner}{name}.") if rest else parse(owner + path, text, hints[name])
    try:
        return replace(settings, **{name: value})
    except ValueError as error:
        own = not rest and str(error).startswith(f"{name}=")  # else it names no field, or another one
        error.args = (f"{owner}{error}" if own else f"{owner}{path}={text}: {error}",)
        raise


def split_change(text: str) -> tuple[str, str, str]:
    """Return the part (recipe, strategy or benchmark), field and value of one --set; `match` is `strategy`."""
    field, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: FIELD=VALUE was expected")
    part, dot, rest = field.partition(".")
    part = "strategy" if part == "match" else part
    return (part, rest, value) if dot and part in ("strategy", "benchmark") else ("recipe", field, value)


def change(settings: Settings, part: str, changes: Sequence[tuple[str, str, str]]) -> Settings:
    """Return the settings with all changes of their part made, in order."""
    for its, field, value in changes:
        if its == part:
            settings = assign(settings, field, value, "" if part == "recipe" else f"{part}.")
    return settings


def parse(name: str, text: str, hint: object) -> object:
    """Return a value of the hinted type from text; BadValue names the field where the text is none."""
    if hint in CHOICES:
        return choice(name, text, CHOICES[hint])
    if get_origin(hint) is Literal:
        return choice(name, text, {value: value for value in get_args(hint)})
    if get_origin(hint) in (Union, types.UnionType):
        return None if text.lower() == "none" else parse(name, text, get_args(hint)[0])
    if get_origin(hint) is tuple:
        return sequence(name, text, get_args(hint))
    if is_dataclass(hint):
        raise BadValue(f"{name}={text}: set one of its fields, {', '.join(field.name for field in fields(hint))}")
    if hint is bool:
        return choice(name, text.lower(), {"true": True, "false": False})
    return number(name, text, hint) if hint is int or hint is float else text


def sequence(name: str, text: str, kinds: tuple[object, ...]) -> tuple[object, ...]:
    """Return a tuple from comma-separated text."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if kinds[-1] is not Ellipsis and len(parts) != len(kinds):
        raise BadValue(f"{name}={text}: {len(kinds)} values were expected, separated by commas")
    return tuple(parse(name, part, kinds[0]) for part in parts)


def number(name: str, text: str, hint: type[int] | type[float]) -> int | float:
    """Return an int or a float from text; BadValue for NaN, infinity and an int of more than 64 bits."""
    try:
        value = hint(text)
    except ValueError:
        raise BadValue(f"{name}={text}: {NUMBERS[hint]} was expected") from None
    if not abs(value) < (math.inf if hint is float else 2**63):
        raise BadValue(f"{name}={text}: {'a finite number' if hint is float else 'a number of 64 bits'} was expected")
    return value


def choice(name: str, text: str, choices: Mapping[str, object]) -> object:
    """Return what a name stands for; of a class among the choices its default instance."""
    if text not in choices:
        raise BadValue(f"{name}={text}: choose from {', '.join(choices)}")
    found = choices[text]
    return found() if isinstance(found, type) else found


def read_options(kind: type[Options], args: argparse.Namespace) -> Options:
    """Return a dataclass whose fields are named as options; an option that was not typed keeps its default."""
    present = {field.name: getattr(args, field.name) for field in fields(kind) if hasattr(args, field.name)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in present.items()})


def write_options(options: DataclassInstance) -> list[str]:
    """Return the options of such a dataclass that differ from their defaults, as they are typed on a command line."""
    line: list[str] = []
    for field in fields(options):
        option, value = f"--{field.name.replace('_', '-')}", getattr(options, field.name)
        if isinstance(value, bool):
            line += [] if value == field.default else [option if value else f"--no-{field.name}"]
        elif value != field.default:
            line += [text for part in (value if isinstance(value, tuple) else [value]) for text in (option, str(part))]
    return line


def describe(settings: DataclassInstance) -> Json:
    """Return every field as plain JSON values; what was chosen by name is written as that name."""
    return {field.name: plain(getattr(settings, field.name)) for field in fields(settings)}


def plain(value: object) -> object:
    """Return one value as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        named = any(type(value) in choices.values() for choices in CHOICES.values())
        return {**({"name": name_of(type(value))} if named else {}), **describe(value)}
    if callable(value):
        return name_of(value)
    return list(value) if isinstance(value, tuple) else value


def restore(settings: Settings, described: Mapping[str, object], path: str = "") -> Settings:
    """Return the settings with every field, from a dotted path on, as `describe` wrote it. Raises as `assign`."""
    for name, value in described.items():
        field = path + name
        if isinstance(value, Mapping):
            settings = assign(settings, field, value["name"]) if "name" in value else settings
            settings = restore(settings, {its: one for its, one in value.items() if its != "name"}, f"{field}.")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            settings = assign(settings, field, text)
    return settings


def name_of(chosen: object) -> str:
    """Return the name under which a function or class is chosen."""
    return next(name for choices in CHOICES.values() for name, found in choices.items() if found is chosen)


ADDED: dict[tuple[str, ...], Any] = {  # fields that older records lack → the value that says what was so without them
    ("benchmark", "layout", "recolour"): 0.0,
    ("recipe", "width"): 64,
}


def upgrade(settings: Json) -> Json:
    """Return settings in today's form.

    Older records have `strategy` and `match` apart, `depth` for `encoder`, and lack the fields of ADDED; of VOC folders
    they have no `strict`: they were read without mending, which is how a folder without a flaw is read still. Detectors
    have no `calibrate`: their norms began as the backbone's file has them.
    """
    match settings:
        case {"strategy": str(name), "match": {**fields}, **others}:
            settings = {**others, "strategy": {"name": name, **fields}}
        case {"strategy": str(name)} if "match" not in settings:
            settings = {**settings, "strategy": {"name": name}}
    for part in ("recipe", "benchmark"):
        match settings.get(part):
            case {"depth": int(depth), **fields}:
                settings = {**settings, part: {"encoder": f"resnet{depth}", **fields}}
    match settings.get("benchmark"):
        case {"name": "voc-folder" | "voc07+12", **fields} if "strict" not in fields:
            settings = {**settings, "benchmark": {**settings["benchmark"], "strict": False}}
    match settings.get("benchmark"):
        case {"precise_bn": _, **fields} if "calibrate" not in fields:  # a detector's
            settings = {**settings, "benchmark": {**settings["benchmark"], "calibrate": 0}}
    for path, value in ADDED.items():
        settings = with_default(settings, path, value)
    return settings


def with_default(settings: Json, path: Sequence[str], value: Any) -> Json:
    """Return settings with a value at a path if only the last field of the path is missing."""
    name, *rest = path
    if not rest:
        return {name: value, **settings}
    part = settings.get(name)
    return {**settings, name: with_default(part, rest, value)} if isinstance(part, dict) else settings


def digest(settings: Json) -> str:
    """Return the eight hexadecimal digits of a run's name, of all settings but the trial."""
    content = json.dumps({name: value for name, value in settings.items() if name != "trial"}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:8]


def is_named_by(name: str, settings: Json) -> bool:
    """Return whether a run's name has the seed, digits and trial of its settings, in the form they were written."""
    trial = f"-t{settings['trial']}" if settings.get("trial") else ""
    return re.fullmatch(rf".+-s{settings.get('seed')}-{digest(settings)}{trial}(-again[0-9]+)?", name) is not None
