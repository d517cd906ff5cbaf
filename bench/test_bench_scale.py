"""Scale: ranges filled to their last address and emptied, up to a million live addresses

Every address is given by an ADD of the allocator, and taken back by a DEL: 64 at a time, as an agent serves
them, those that meet at one block by one write. They have to be exactly the lowest addresses of the range.
Curves are of thousands of ADDs on the way, and of DELs on the way back; flat is what they are to be. On the
API server the first 990,000 of a million are written block by block, and ADDs give the rest. ``check`` looks
at what there is then, and has to find nothing wrong.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice, pairwise
from pathlib import Path
from threading import Barrier
from time import perf_counter
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.datastores import KUBERNETES, SQLITE, Place, datastore
from bench.loading import load
from bench.pods import IN_A_BLOCK, Filled, holder, lowest
from tests.store_contract import attachment, demand
from whereabouts.addresses import address_of
from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.allocator import Allocator
from whereabouts.cli import main
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.ranges import Range
from whereabouts.store import Store

AT_ONCE = 64
OTHER_RANGE = "192.168.0.0/24"
"""Where all make a call before those that count."""
PATIENCE = 120.0
POINTS = 16
"""Of a curve."""
MILLION = 1_000_000
LOADED = 990_000 // IN_A_BLOCK * IN_A_BLOCK


class Life:
    """The addresses of one range: ADDs until it has as many as it is to have, then DELs."""

    def __init__(self, place: Place, text: str) -> None:
        self.range = Range.parse(text)
        self.text = text
        self.given = array("I")
        """The address of each pod, by its number; pods come in the order of numbers."""
        self._wanted = demand(text)
        self._stack = ExitStack()
        first = self._stack.enter_context(place.store())
        self._stores = [first if first.concurrent else self._open(place) for _ in range(AT_ONCE)]
        groups = Groups(lambda _: None)
        self._allocators = [
            Allocator(store, GroupCommitter(groups, DirectCommitter(store)), SILENT) for store in self._stores
        ]

    def _open(self, place: Place) -> Store:
        return self._stack.enter_context(place.store())

    def close(self) -> None:
        self._stack.close()

    def take_over(self, filled: Filled) -> None:
        """Pods that a store was filled with."""
        self.given.extend(int(filled.address(number)) for number in range(filled.used))

    def fill(self, upto: int) -> list[list[float]]:
        """ADDs of further pods: points of their number and of ADDs a second since the last."""
        first = len(self.given)
        self.given.extend([0] * (upto - first))

        def add(allocator: Allocator, number: int) -> None:
            owner = holder(number, self.text)
            (address,) = allocator.add(self._wanted, owner, Deadline(PATIENCE))
            self.given[number] = int(address)

        return self._paced(first, upto, add)

    def empty(self, upto: int) -> list[list[float]]:
        """DELs of the first pods, as results of their ADDs name them."""

        def delete(allocator: Allocator, number: int) -> None:
            address = address_of(self.range.version, self.given[number])
            owner = holder(number, self.text)
            freed = allocator.delete(self._wanted, attachment(owner), [address], Deadline(PATIENCE))
            assert [one for one, _ in freed] == [address]

        return self._paced(0, upto, delete)

    def _paced(self, first: int, stop: int, call: Callable[[Allocator, int], None]) -> list[list[float]]:
        points = []
        bounds = [first + (stop - first) * part // POINTS for part in range(POINTS + 1)]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            self._begin(threads)
            for begin, end in pairwise(bounds):
                numbers = iter(range(begin, end))

                def work(allocator: Allocator, numbers: Iterator[int] = numbers) -> None:
                    for number in numbers:
                        call(allocator, number)

                begun = perf_counter()
                for _ in threads.map(work, self._allocators):
                    pass
                points.append([float(end), (end - begin) / (perf_counter() - begun)])
        return points

    def _begin(self, threads: ThreadPoolExecutor) -> None:
        """An ADD and a DEL of each allocator on another range: what only first calls do is not counted."""
        met, wanted = Barrier(AT_ONCE), demand(OTHER_RANGE)

        def begin(allocator: Allocator, number: int) -> None:
            owner = holder(number, OTHER_RANGE)
            met.wait()
            given = allocator.add(wanted, owner, Deadline(PATIENCE))
            freed = allocator.delete(wanted, attachment(owner), given, Deadline(PATIENCE))
            assert [one for one, _ in freed] == list(given)

        for _ in threads.map(begin, self._allocators, range(AT_ONCE)):
            pass

    def assert_lowest(self) -> None:
        """What was given are the lowest addresses of the range, each once."""
        assert sorted(self.given) == list(islice(lowest(self.text), len(self.given)))

    def assert_nothing_left(self) -> None:
        assert not any(stored.trusted() for stored in self._stores[0].blocks(Deadline(PATIENCE)))


def live(
    benchmark: BenchmarkFixture,
    store: str,
    place: Place,
    text: str,
    upto: int,
    look: Callable[[Life], dict[str, float]],
) -> None:
    """Fill, look and empty; the benchmark is of the ADDs."""
    life = Life(place, text)
    figures: dict[str, float] = {}
    curves: dict[str, list[list[float]]] = {}

    try:
        benchmark.pedantic(lambda: curves.update(ADD=life.fill(upto)), rounds=1)  # type: ignore[no-untyped-call]
        life.assert_lowest()
        figures.update(look(life))
        curves["DEL"] = life.empty(upto)
        life.assert_nothing_left()
    finally:
        life.close()
    tell(benchmark, f"{upto:,} addresses, {store}", curves, figures)


def tell(
    benchmark: BenchmarkFixture,
    title: str,
    curves: dict[str, list[list[float]]],
    figures: dict[str, float],
) -> None:
    for call, points in curves.items():
        figures[f"{call}s a second"] = len(points) / sum(1 / rate for _, rate in points)
        figures[f"{call}s a second, last to second part"] = points[-1][1] / points[1][1]
    benchmark.extra_info["figures"] = figures
    benchmark.extra_info["curve"] = {
        "title": title,
        "x": {"label": "addresses given or taken back", "log": False},
        "y": {"label": "calls a second", "log": False},
        "series": curves,
    }


def checked(place: Place, folder: Path) -> Callable[[Life], dict[str, float]]:
    """What the tools say of an embedded store, and how long they take."""

    def look(life: Life) -> dict[str, float]:
        path = str(place.directory / "w.db")
        listed = folder / "valid.json"
        pods = (holder(number, life.text) for number in range(len(life.given)))
        listed.write_text(json.dumps([{"containerID": pod.container_id, "ifname": "net1"} for pod in pods]))
        begun = perf_counter()
        assert main(["check", "--local", path, "--valid-attachments", str(listed)]) == 0
        between = perf_counter()
        assert main(["show", "--local", path]) == 0
        return {
            "seconds of check": between - begun,
            "seconds of show": perf_counter() - between,
            "bytes of the file for an address": Path(path).stat().st_size / len(life.given),
        }

    return look


def nothing(life: Life) -> dict[str, float]:
    return {}


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        pytest.param("10.0.0.0/19", 8_160 - 1, id="a 19"),
        pytest.param("10.0.0.0/16", 65_280 - 1, id="a 16", marks=pytest.mark.long),
        pytest.param("10.0.0.0/12", MILLION, id="a million of a 12", marks=pytest.mark.long),
    ],
)
def test_embedded_store(benchmark: BenchmarkFixture, tmp_path: Path, text: str, addresses: int) -> None:
    with datastore(SQLITE) as where:
        place = where.place(tmp_path / "place")
        live(benchmark, where.name, place, text, addresses, checked(place, tmp_path))


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        pytest.param("10.0.0.0/21", 2_040 - 1, id="a 21"),
        pytest.param("10.0.0.0/16", 65_280 - 1, id="a 16", marks=pytest.mark.long),
    ],
)
def test_api_server(benchmark: BenchmarkFixture, tmp_path: Path, text: str, addresses: int) -> None:
    with datastore(KUBERNETES) as where:
        live(benchmark, where.name, where.place(tmp_path / "place"), text, addresses, nothing)


@pytest.mark.long
def test_a_million_on_an_api_server(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    text = "10.0.0.0/12"
    filled = Filled(Range.parse(text), LOADED)
    with datastore(KUBERNETES) as where, ExitStack() as stack:
        place = where.place(tmp_path / "place")
        load(stack.enter_context(place.store()), filled)
        life = Life(place, text)
        stack.callback(life.close)
        life.take_over(filled)
        curves: dict[str, Any] = {}
        benchmark.pedantic(lambda: curves.update(ADD=life.fill(MILLION)), rounds=1)  # type: ignore[no-untyped-call]
        life.assert_lowest()
    tell(
        benchmark,
        f"the last of a million addresses, {where.name}",
        curves,
        {"live addresses": float(len(life.given))},
    )
