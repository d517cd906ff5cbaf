"""A store that fails on demand, at a chosen call, in a chosen way."""

from collections.abc import Callable
from typing import Any

from whereabouts.deadline import Deadline
from whereabouts.store import Store, Unavailable, Unsettled


class Killed(BaseException):
    """The process died here. Not an Exception: nothing may catch it and go on."""


class Never(Deadline):
    """A deadline that never passes and pauses that take no time."""

    def __init__(self) -> None:
        super().__init__(1e9, sleep=lambda _: None)


WAYS = ("unavailable", "answer lost", "killed before", "killed after")
CALLS = (
    "read_block",
    "write_block",
    "bitmaps",
    "blocks_of_pod",
    "blocks_of_attachment",
    "read_pool",
    "create_pool",
    "write_pool",
    "pools",
    "blocks",
    "read_slices",
    "create_slices",
    "write_slices",
)


class FaultyStore:
    """Hands calls on to ``store``; the call number ``at`` (from 0) fails in one of ``WAYS``."""

    def __init__(self, store: Store, at: int, way: str) -> None:
        self._store = store
        self._at = at
        self._way = way
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._store, name)
        return self._counted(name, attribute) if name in CALLS else attribute

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            here = len(self.calls) == self._at
            self.calls.append(name)
            if not here:
                return call(*args, **kwargs)
            if self._way == "unavailable":
                raise Unavailable("the store is away")
            if self._way == "killed before":
                raise Killed
            result = call(*args, **kwargs)
            if self._way == "killed after":
                raise Killed
            if name.startswith(("write", "create")):
                raise Unsettled("the answer was lost")
            return result

        return counted
