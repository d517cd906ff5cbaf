"""HTML that is put together from elements, in which every text is escaped unless it was made here."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from whereabouts.commands.tables import printable

_EMPTY = frozenset(["br", "link", "meta"])
"""Elements that have no end tag."""


class Markup(str):
    """HTML as it is to be sent; any other text is escaped on its way into an element."""

    __slots__ = ()


Content = str | int | float | None
"""What an element takes: markup, or texts and numbers; None is nothing."""
Attribute = str | int | float | bool | None
"""True is an attribute without a value; None and False are none at all."""


def element(name: str, /, *content: Content | Iterable[Content], **attributes: Attribute) -> Markup:
    """An element. In the names of attributes ``_`` stands for ``-``, and is left out at the end."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _EMPTY:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{markup(*content)}</{name}>")


def markup(*content: Content | Iterable[Content]) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(_piece(one) for one in content))


def _piece(content: Content | Iterable[Content]) -> str:
    if content is None or isinstance(content, Markup):
        return content or ""
    if isinstance(content, str | int | float):
        return _escaped(content)
    return "".join(_piece(one) for one in content)


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{_escaped(value)}"'


def _escaped(value: float | str) -> str:
    """Without what would be markup, and with what cannot be printed spelled out: also marks that turn the
    direction of writing, and halves of characters, which have no UTF-8.
    """
    return escape(printable(str(value)))
