"""Named tuples and protocols without the ``typing`` module, for what a plugin process imports.

A container runtime starts the plugin for every interface, and importing ``typing`` and ``collections``'
named tuples, which are compiled from text, takes longer than serving the call. Type checkers see
``typing``'s own names here. Modules that use these need ``from __future__ import annotations``, so that
their annotations stay text.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""True for a type checker only; what stands under it is for annotations."""

if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
else:
    from _collections import _tuplegetter

    class Protocol:
        """Stands for ``typing.Protocol`` at run time, where nobody asks for it."""

        __slots__ = ()

    class _Fields(type):
        """Gives the annotated names of a class their places in a tuple."""

        def __new__(mcls, name, bases, members):
            if bases == (tuple,):
                return super().__new__(mcls, name, bases, members)
            fields = tuple(members.get("__annotations__", ()))
            if not fields:
                raise TypeError(f"{name}: no fields; is 'from __future__ import annotations' missing?")
            defaults = {field: members[field] for field in fields if field in members}
            for place, field in enumerate(fields):
                members[field] = _tuplegetter(place, "")
            return super().__new__(
                mcls,
                name,
                bases,
                {"__slots__": (), **members, "_fields": fields, "_field_defaults": defaults},
            )

    class NamedTuple(tuple, metaclass=_Fields):
        """Stands for ``typing.NamedTuple`` at run time, with the same methods."""

        __slots__ = ()
        _fields = ()

        def __new__(cls, *values, **named):  # noqa: D102
            if len(values) != len(cls._fields) or named:
                values = cls._complete(values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _complete(cls, values, named):
            given = {**cls._field_defaults, **dict(zip(cls._fields, values, strict=False)), **named}
            overlap = set(cls._fields[: len(values)]) & named.keys()
            if len(values) > len(cls._fields) or overlap or len(given) != len(cls._fields):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}")
            return map(given.__getitem__, cls._fields)

        @classmethod
        def _make(cls, values):
            return cls(*values)

        def _replace(self, **named):
            return type(self)(**{**self._asdict(), **named})

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def __repr__(self):
            values = ", ".join(f"{field}={value!r}" for field, value in self._asdict().items())
            return f"{type(self).__name__}({values})"

        def __getnewargs__(self):
            return tuple(self)
