"""Named tuples and protocols without the ``typing`` module, for what a plugin process imports.

A container runtime starts the plugin for every interface, and ``typing`` (with the ``re`` and ``enum``
that it brings) takes longer to import than the call takes to serve. Type checkers see ``typing``'s own
names here. Modules that use these need ``from __future__ import annotations``, so that their annotations
stay text.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
"""True for a type checker only; what stands under it is for annotations."""

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
else:

    class Protocol:
        """Stands for ``typing.Protocol`` at run time, where nobody asks for it."""

        __slots__ = ()

    class _NamedTupleMeta(type):
        """Makes a named tuple of the annotated names of a class, as ``typing.NamedTuple`` does."""

        def __new__(mcls, name, bases, members):
            if not bases:
                return super().__new__(mcls, name, bases, members)
            if "__annotations__" not in members:
                raise TypeError(f"{name}: no fields; is 'from __future__ import annotations' missing?")
            fields = list(members["__annotations__"])
            defaults = [members.pop(field) for field in fields if field in members]
            base = namedtuple(name, fields, defaults=defaults, module=members["__module__"])
            return type(name, (base,), {"__slots__": (), **members})

    class NamedTuple(metaclass=_NamedTupleMeta):
        """Stands for ``typing.NamedTuple`` at run time."""
