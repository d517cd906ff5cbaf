"""Faults between plugin and store: of connections, and of requests to an API server."""

from collections.abc import Sequence
from random import Random

from .. import fault_proxy
from ..cutting_proxy import CuttingProxy
from ..fault_proxy import EVERYTHING, WRITES, FaultProxy, Rule
from .fault import Fault


class _OnConnections:
    """What a fault of connections is: it strikes one proxy, or all of them."""

    def __init__(self, proxies: Sequence[CuttingProxy]) -> None:
        self._proxies = proxies

    def _hit(self, random: Random) -> Sequence[CuttingProxy]:
        return self._proxies if random.random() < 0.4 else [random.choice(self._proxies)]

    def heal(self) -> None:
        for proxy in self._proxies:
            proxy.serve()


class Cut(_OnConnections):
    """Connections are cut, whatever is under way; new ones are made at once."""

    name = "connections cut"
    seconds = (0.0, 0.1)
    weight = 3.0

    def strike(self, random: Random) -> None:
        for proxy in self._hit(random):
            proxy.cut()

    def heal(self) -> None:
        """Nothing is left to heal."""


class Refused(_OnConnections):
    """Connections are cut, and those that come are closed."""

    name = "connections refused"
    seconds = (0.2, 8.0)
    weight = 1.0

    def strike(self, random: Random) -> None:
        for proxy in self._hit(random):
            proxy.refuse()


class Held(_OnConnections):
    """Silence: nothing comes through, and arrives when it is over."""

    name = "network silent"
    seconds = (0.2, 9.0)
    weight = 1.5

    def strike(self, random: Random) -> None:
        for proxy in self._hit(random):
            proxy.hold()


class Slow(_OnConnections):
    """Everything takes longer."""

    name = "network slow"
    seconds = (1.0, 12.0)
    weight = 1.5

    def strike(self, random: Random) -> None:
        for proxy in self._hit(random):
            proxy.delay = random.choice((0.01, 0.1, 0.7))


class AnswersLost(_OnConnections):
    """Connections are cut when the answer comes, or in the middle of it."""

    name = "answers lost"
    seconds = (0.2, 5.0)
    weight = 2.0

    def strike(self, random: Random) -> None:
        for proxy in self._hit(random):
            proxy.lose(random.choice((0.0, 0.5, 0.9)))


def on_connections(proxies: Sequence[CuttingProxy]) -> list[Fault]:
    """All faults of connections."""
    return [kind(proxies) for kind in (Cut, Refused, Held, Slow, AnswersLost)]


class RequestsHit:
    """Some of the requests to an API server meet one kind of fault."""

    def __init__(self, proxies: Sequence[FaultProxy], fault: str, *seconds: float) -> None:
        """``seconds``: between which of them a rule's are chosen, see :class:`~tests.fault_proxy.Rule`."""
        self.name = f"requests: {fault}"
        self.seconds = (1.0, 15.0)
        self.weight = 1.0
        self._proxies = proxies
        self._fault = fault
        self._choices = seconds or (1.0,)

    def strike(self, random: Random) -> None:
        rule = Rule(
            self._fault,
            random.choice((0.02, 0.1, 0.3, 0.8)),
            random.choice(self._choices),
            WRITES if self._fault == fault_proxy.CONFLICT else random.choice((WRITES, EVERYTHING)),
        )
        for proxy in self._proxies:
            if random.random() < 0.7:
                proxy.rules = [*proxy.rules, rule]

    def heal(self) -> None:
        for proxy in self._proxies:
            proxy.rules = [rule for rule in proxy.rules if rule.fault != self._fault]


class ProxyCut:
    """All connections to the API server are cut, watches too."""

    name = "connections cut"
    seconds = (0.0, 0.1)
    weight = 2.0

    def __init__(self, proxies: Sequence[FaultProxy]) -> None:
        self._proxies = proxies

    def strike(self, random: Random) -> None:
        for proxy in self._proxies:
            if random.random() < 0.7:
                proxy.cut()

    def heal(self) -> None:
        """Nothing is left to heal."""


_SECONDS: dict[str, tuple[float, ...]] = {
    fault_proxy.DELAY_REQUEST: (0.2, 3.0, 20.0),
    fault_proxy.DELAY_ANSWER: (0.2, 3.0, 20.0),
    fault_proxy.TRICKLE: (1.0, 30.0, 90.0, 400.0),
    fault_proxy.TOO_MANY: (1.0, 3.0, 30.0),
}
"""Some of these are longer than a client waits for one attempt, some longer than a call may take."""


def on_requests(proxies: Sequence[FaultProxy]) -> list[Fault]:
    """All faults of requests, and cut connections."""
    hit = [RequestsHit(proxies, fault, *_SECONDS.get(fault, ())) for fault in fault_proxy.FAULTS]
    return [*hit, ProxyCut(proxies)]
