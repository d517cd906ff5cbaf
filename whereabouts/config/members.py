"""Reading a JSON object against a table of keys: spelling, types, and what is not known."""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.cni.errors import quote, shorten
from whereabouts.cni.json_object import type_name
from whereabouts.config.errors import Problems
from whereabouts.config.keys import (
    FLAG,
    NUMBER,
    OBJECT,
    OBJECTS,
    PATHS,
    TEXT,
    TEXTS,
    WHICH_RECORDS,
    Key,
    Keys,
)
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

_BEYOND_NUMBERS = 1 << 63
"""Go reads numbers into 64 bits, signed."""


class Members:
    """The values of an object's known keys, each of the key's type. :func:`read_members` makes them."""

    __slots__ = ("_keys", "_values")

    def __init__(self, keys: Keys, values: Mapping[str, Any]) -> None:
        """``values`` have the types that ``keys`` say."""
        self._keys = keys
        self._values = values

    def has(self, key: str) -> bool:
        """Whether the key is there with a value other than null."""
        return key in self._values

    def text(self, key: str) -> str:
        """The value; the default if there is none or it is empty."""
        text: str = self._value(key)
        return text

    def own_text(self, key: str) -> str:
        """The value; empty if there is none, whatever the default."""
        text: str = self._values.get(key, "")
        return text

    def number(self, key: str) -> int:
        """The value; the default if there is none or it is 0."""
        number: int = self._value(key)
        return number

    def flag(self, key: str) -> bool:
        """The value; the default if there is none."""
        flag: bool = self._values.get(key, self._keys[key].default)
        return flag

    def texts(self, key: str) -> tuple[str, ...]:
        """The value; empty if there is none."""
        return tuple(self._values.get(key, ()))

    def object(self, key: str) -> Members:
        """The value; an object without members if there is none."""
        members: Members | None = self._values.get(key)
        return members or Members(self._keys[key].members, {})

    def objects(self, key: str) -> tuple[Members, ...]:
        """The value; empty if there is none."""
        return tuple(self._values.get(key, ()))

    def _value(self, key: str) -> Any:
        return self._values.get(key) or self._keys[key].default

    def over(self, other: Members) -> Members:
        """These members, and those of ``other`` where a key is empty here.

        Lists are taken whole, objects are merged member by member. A flag is never empty.
        """
        merged = dict(other._values)
        for key, value in self._values.items():
            if isinstance(value, Members):
                merged[key] = value.over(other.object(key))
            elif value or isinstance(value, bool):
                merged[key] = value
        return Members(self._keys, merged)


def paths_in(members: Members) -> tuple[tuple[str, str], ...]:
    """The paths on the host that are set, with their keys written as ``object.key``."""
    found = []
    for path in PATHS:
        outer, _, key = path.rpartition(".")
        value = (members.object(outer) if outer else members).own_text(key)
        if value:
            found.append((path, value))
    return tuple(found)


class Place(NamedTuple):
    """Where an object was found, for what is said about it."""

    start: str
    """What an error about its keys begins with."""
    path: str
    """What stands before the names of its keys: nothing, or a path with a dot at its end."""
    problems: Problems

    def inside(self, name: str) -> Place:
        """The place of an object at one of the keys."""
        return Place(self.start, f"{self.path}{name}.", self.problems)

    def strict(self) -> Place:
        """The same place, where no mistake is passed over."""
        return Place(self.start, self.path, self.problems.strict())

    def report(self, name: str, problem: str) -> None:
        """Say what is wrong with the value of a key."""
        self.problems.report(f"{self.start}key {quote(self.path + name)}: {problem}")


def read_members(found: Mapping[str, object], keys: Keys, place: Place) -> Members:
    """Take the known keys from a decoded object: spelled exactly, else in other capitals, as in Go.

    Unknown keys are warned about; null counts as absent. A value of the wrong type is reported at
    ``place`` with its key, and with the value itself unless that is secret or made of parts.
    """
    values: dict[str, object] = {}
    for spelling, value in found.items():
        name = spelling if spelling in keys else _folded(spelling, keys)
        if name is None or (name != spelling and (name in found or name in values)):
            place.problems.warnings.append(f"unknown key {quote(place.path + spelling)} (ignored)")
        elif value is not None:
            checked = _check(name, keys[name], value, place.strict() if name in WHICH_RECORDS else place)
            if checked is not None:
                values[name] = checked
    return Members(keys, values)


def _folded(spelling: str, keys: Keys) -> str | None:
    lowered = spelling.lower()
    return next((name for name in keys if name.lower() == lowered), None)


def _check(name: str, key: Key, value: object, place: Place) -> object:
    """The value, with objects as Members; None if its type is wrong and that was passed over."""
    if key.kind == OBJECT and isinstance(value, dict):
        return read_members(value, key.members, place.inside(name))
    if key.kind == OBJECTS and isinstance(value, list):
        return _check_objects(name, key, value, place)
    if key.kind == TEXTS and isinstance(value, list):
        return _check_texts(name, value, place)
    if key.kind == TEXT and isinstance(value, str):
        if "\0" not in value:
            return value
        place.report(name, "a NUL character in the text")
    elif key.kind == NUMBER and type(value) is int:
        if -_BEYOND_NUMBERS <= value < _BEYOND_NUMBERS:
            return value
        place.report(name, f"the number {_shown(value)} does not fit in 64 bits")
    elif key.kind == FLAG and isinstance(value, bool):
        return value
    else:
        place.report(name, f"expected {key.kind}, found {_found(value, key.secret)}")
    return None


def _check_objects(name: str, key: Key, value: list[object], place: Place) -> object:
    read = []
    for index, item in enumerate(value):
        at = f"{name}[{index}]"
        if isinstance(item, dict):
            read.append(read_members(item, key.members, place.inside(at)))
        else:
            place.report(at, f"expected {OBJECT}, found {_found(item)}")
    return read


def _check_texts(name: str, value: list[object], place: Place) -> object:
    for index, item in enumerate(value):
        if not isinstance(item, str):
            place.report(f"{name}[{index}]", f"expected {TEXT}, found {_found(item)}")
    return [item for item in value if isinstance(item, str)]


def _found(value: object, secret: bool = False) -> str:
    """What is there instead of what was expected."""
    if isinstance(value, dict | list) or value is None:
        return type_name(value)
    return f"{type_name(value)}{'' if secret else f': {_shown(value)}'}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(value) if isinstance(value, str) else shorten(str(value))
