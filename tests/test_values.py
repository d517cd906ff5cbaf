"""The stand-in for ``typing.NamedTuple`` does what ``typing.NamedTuple`` does."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from whereabouts.values import NamedTuple


class Ours(NamedTuple):
    """Documented."""

    first: int
    """So is the field."""
    second: str = "two"
    third: tuple[int, ...] = ()

    @classmethod
    def make(cls, first: int) -> Ours:
        return cls(first)

    @property
    def doubled(self) -> int:
        return 2 * self.first


class Theirs(typing.NamedTuple):
    first: int
    second: str = "two"
    third: tuple[int, ...] = ()


@pytest.mark.parametrize(
    ("values", "named"),
    [((1,), {}), ((1, "b"), {}), ((1, "b", (3,)), {}), ((), {"first": 1}), ((1,), {"third": (3,)})],
)
def test_values_come_out_as_typing_has_them(values: tuple[object, ...], named: dict[str, object]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)  # type: ignore[arg-type]
    assert tuple(ours) == tuple(theirs)
    assert typing.cast(object, ours) == theirs
    assert hash(ours) == hash(theirs)
    assert (ours.first, ours.second, ours.third) == (theirs.first, theirs.second, theirs.third)
    assert ours._asdict() == theirs._asdict()
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours")
    assert tuple(ours._replace(first=9)) == tuple(theirs._replace(first=9))
    assert tuple(Ours._make([7, "x", ()])) == tuple(Theirs._make([7, "x", ()]))


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, "b", (), 4), {}), ((1,), {"first": 1}), ((1,), {"fourth": 4}), ((), {"second": "b"})],
)
def test_wrong_values_are_a_type_error_as_in_typing(
    values: tuple[object, ...], named: dict[str, object]
) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)  # type: ignore[arg-type]


def test_a_replacement_that_is_no_field_is_an_error() -> None:
    with pytest.raises((TypeError, ValueError)):
        Ours(1)._replace(fourth=4)  # type: ignore[call-arg]


def test_methods_documentation_and_copies_work() -> None:
    one = Ours.make(4)
    assert one.doubled == 8
    assert Ours.__doc__ == "Documented."
    assert Ours._fields == ("first", "second", "third")
    assert copy.copy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.first = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        one.fourth = 5  # type: ignore[attr-defined]


def test_a_class_without_fields_says_what_is_missing() -> None:
    with pytest.raises(TypeError, match="from __future__ import annotations"):
        exec("class Empty(NamedTuple): pass", {"NamedTuple": NamedTuple})
