"""What calls cost: requests, bytes, and CPU time of servers and clients, added up over several stretches."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bench.counting_proxy import Traffic
from bench.server_metrics import Meter, Server

RARE = 0.05
"""Kinds of requests that fewer calls make have no figure of their own."""


class Watched(NamedTuple):
    """Where costs are read."""

    servers: Sequence[Server]
    """The first is the one that clients ask."""
    traffic: Callable[[], Traffic]


class Costs:
    """Of all calls of one kind, such as the ADDs of one plugin."""

    def __init__(self, watched: Watched, client_seconds: Callable[[], float]) -> None:
        """``client_seconds`` gives the CPU time of whoever makes the calls, and what they start."""
        self._watched = watched
        self._client_seconds = client_seconds
        self._calls = 0
        self._client = 0.0
        self._bytes: Counter[str] = Counter()
        self._cpu: Counter[str] = Counter()
        self._requests: dict[str, Counter[str]] = {server.name: Counter() for server in watched.servers}

    def start(self) -> None:
        """A stretch begins."""
        self._meter = Meter(self._watched.servers)
        self._before = self._watched.traffic(), self._client_seconds()

    def stop(self, calls: int) -> None:
        """It ends, and had so many calls."""
        traffic, client = self._before
        self._calls += calls
        self._client += self._client_seconds() - client
        done = self._meter.stop()
        self._bytes.update(self._watched.traffic().since(traffic)._asdict())
        for name, requests in done.requests.items():
            self._requests[name].update(requests)
            self._cpu[name] += done.cpu[name]  # type: ignore[assignment]

    def of(self, calls: int, run: Callable[[], object]) -> None:
        """A stretch of so many calls, which ``run`` makes."""
        self.start()
        run()
        self.stop(calls)

    @property
    def server_seconds(self) -> float:
        """The CPU time of all servers for a call."""
        return sum(self._cpu.values()) / self._calls

    def figures(self, call: str, *, kinds: bool = True) -> dict[str, float]:
        """All figures a call, by names that end in ``call``: ``an ADD``. ``kinds``: of requests, too."""
        asked, *behind = self._requests.items()
        found = {f"requests {call}": asked[1].total() / self._calls}
        for kind, number in sorted(asked[1].items()):
            if kinds and number > RARE * self._calls:
                found[f"{kind} {call}"] = number / self._calls
        for name, requests in behind:
            found[f"{name} requests {call}"] = requests.total() / self._calls
        for direction in Traffic._fields:
            found[f"KiB {direction} {call}"] = self._bytes[direction] / 1024 / self._calls
        for name, seconds in self._cpu.items():
            found[f"ms of {name} CPU {call}"] = seconds * 1e3 / self._calls
        found[f"ms of client CPU {call}"] = self._client * 1e3 / self._calls
        return found
