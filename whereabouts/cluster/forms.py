"""What is read of a kind of objects: which fields are parsed at all, and what is made and kept of them.

A cluster has tens of thousands of pods, and a pod's JSON has hundreds of values. The parser (msgspec) passes
over what nobody asked for, which takes a tenth of the time of making all values, and next to no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from whereabouts.store import StoreDamaged
from whereabouts.stores.kube_listing import Page

T = TypeVar("T")


class Metadata(msgspec.Struct, rename="camel"):
    """What is read of the metadata of every object."""

    name: str
    uid: str
    resource_version: str
    namespace: str = ""

    @property
    def key(self) -> str:
        """``namespace/name``, or the name of what is in no namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Anything(msgspec.Struct):
    """An object of any kind, read as a whole but for most of its metadata."""

    metadata: Metadata
    spec: Any = None
    status: Any = None


def _same(_: str, value: Any) -> Any:
    return value


class Form(NamedTuple, Generic[T]):
    """How objects of a kind are read."""

    shape: Any
    """A structure of msgspec whose field ``metadata`` is a :class:`Metadata`."""
    read: Callable[[Any], T]
    """Makes a value of an object of that shape."""
    pack: Callable[[T], Any] = lambda value: value
    """Makes the value small, for keeping it. Equal values have equal packed ones."""
    unpack: Callable[[str, Any], T] = _same
    """Makes a value again of the object's key and what was packed."""

    def parse(self, text: bytes | msgspec.Raw) -> Any:
        """An object, in this shape. Raises :class:`~whereabouts.store.StoreDamaged`."""
        return decoded(self.shape, text)

    def page(self, text: bytes) -> Page:
        """A page of a list, its objects in this shape. Raises :class:`~whereabouts.store.StoreDamaged`."""
        content = decoded(_list_of(self.shape), text)
        return Page(content.items, content.metadata.resource_version, content.metadata.position or "")


class _ListMetadata(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")
    position: str | None = msgspec.field(name="continue", default=None)


@cache
def _list_of(shape: Any) -> Any:
    fields = [("metadata", _ListMetadata), ("items", list[shape])]
    return msgspec.defstruct(f"{shape.__name__}List", fields)


@cache
def _decoder(shape: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(shape)


def decoded(shape: Any, text: bytes | msgspec.Raw) -> Any:
    """What the API server wrote, in this shape. Raises :class:`~whereabouts.store.StoreDamaged`."""
    try:
        return _decoder(shape).decode(text)
    except ValueError as error:
        raise StoreDamaged(f"the API server's answer cannot be read: {error}") from error
