"""The fault proxy fails as it is told, and only then, in front of the double and of a real API server."""

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from . import fault_proxy as faults
from .api_server import ADMIN
from .cluster_servers import BOTH, Server, opened
from .etcd_server import LOOPBACK
from .fault_proxy import EVERYTHING, FaultProxy, Rule, fault_proxy

LOST = (OSError, http.client.HTTPException)


@pytest.fixture(params=BOTH)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with opened(request.param) as server:
        yield server


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[FaultProxy]:
    with fault_proxy(server.server, server.authority, tmp_path) as proxy:
        yield proxy


class Client:
    """A connection to the proxy."""

    def __init__(self, proxy: FaultProxy, namespace: str) -> None:
        context = ssl.create_default_context(cafile=proxy.authority)
        self._connection = http.client.HTTPSConnection(LOOPBACK, proxy.port, timeout=20, context=context)
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    def ask(self, method: str, path: str, body: object = None) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, headers)
        return self._connection.getresponse()

    def create(self, name: str, size: int = 0) -> tuple[int, Any]:
        """Create a pod; status and content of the answer."""
        metadata = {"name": name, "annotations": {"example.org/long": "x" * size}}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [{"name": "c", "image": "none"}]},
        }
        answer = self.ask("POST", self.pods, pod)
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self._connection.close()


class Place(NamedTuple):
    """A namespace, seen through the proxy and past it."""

    server: Server
    namespace: str
    connect: Callable[[], Client]

    def pods(self) -> set[str]:
        """What there is, as the server itself says."""
        reply = self.server.call("GET", f"/api/v1/namespaces/{self.namespace}/pods")
        return {pod["metadata"]["name"] for pod in reply.body["items"]}


@pytest.fixture
def place(server: Server, proxy: FaultProxy) -> Iterator[Place]:
    namespace, clients = server.namespace(), list[Client]()

    def connect() -> Client:
        clients.append(Client(proxy, namespace))
        return clients[-1]

    yield Place(server, namespace, connect)
    for client in clients:
        client.close()


def test_without_rules_it_hands_on_everything(place: Place, proxy: FaultProxy) -> None:
    client = place.connect()
    status, content = client.create("a", size=100_000)
    assert (status, len(content["metadata"]["annotations"]["example.org/long"])) == (201, 100_000)
    assert client.create("a")[0] == 409
    answer = client.ask("GET", client.pods)
    assert [pod["metadata"]["name"] for pod in json.loads(answer.read())["items"]] == ["a"]
    assert proxy.counts == {"requests": 3}


def test_a_watch_comes_through_as_it_happens(place: Place) -> None:
    watcher = place.connect()
    version = json.loads(watcher.ask("GET", watcher.pods).read())["metadata"]["resourceVersion"]
    watch = watcher.ask("GET", f"{watcher.pods}?watch=true&resourceVersion={version}&timeoutSeconds=60")
    for name in ("a", "b"):
        place.connect().create(name)
        assert json.loads(watch.readline())["object"]["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.UNAUTHORIZED, 401),
        (faults.CONFLICT, 409),
        (faults.TOO_MANY, 429),
        (faults.FAILING, 500),
        (faults.UNAVAILABLE, 503),
    ],
)
def test_a_request_is_refused_before_the_server_has_it(
    place: Place, proxy: FaultProxy, fault: str, status: int
) -> None:
    client = place.connect()
    proxy.rules = [Rule(fault, 1.0)]
    told, content = client.create("a")
    assert (told, content["kind"], content["code"]) == (status, "Status", status)
    assert place.pods() == set()
    proxy.rules = []
    assert client.create("a")[0] == 201, "the connection goes on"
    assert proxy.counts == {"requests": 2, fault: 1}


def test_429_says_when_to_come_again(place: Place, proxy: FaultProxy) -> None:
    client = place.connect()
    proxy.rules = [Rule(faults.TOO_MANY, 1.0, seconds=3.0)]
    assert client.ask("GET", client.pods).headers["Retry-After"] == "3"


@pytest.mark.parametrize(("fault", "status"), [(faults.FAILING_AFTER, 500), (faults.TIMEOUT_AFTER, 504)])
def test_what_was_done_is_told_as_a_failure(place: Place, proxy: FaultProxy, fault: str, status: int) -> None:
    client = place.connect()
    proxy.rules = [Rule(fault, 1.0)]
    assert client.create("a")[0] == status
    assert place.pods() == {"a"}
    proxy.rules = []
    assert client.create("a")[0] == 409, "the connection goes on"


@pytest.mark.parametrize(
    ("fault", "done"), [(faults.CUT_BEFORE, set()), (faults.CUT_AFTER, {"a"}), (faults.HALF, {"a"})]
)
def test_a_connection_is_cut(place: Place, proxy: FaultProxy, fault: str, done: set[str]) -> None:
    proxy.rules = [Rule(fault, 1.0)]
    with pytest.raises(LOST):
        place.connect().create("a")
    assert place.pods() == done
    proxy.rules = []
    assert place.connect().create("b")[0] == 201


def test_half_of_an_answer_has_its_head(place: Place, proxy: FaultProxy) -> None:
    client = place.connect()
    proxy.rules = [Rule(faults.HALF, 1.0)]
    answer = client.ask("GET", client.pods)
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead):
        answer.read()


@pytest.mark.parametrize("fault", [faults.DELAY_REQUEST, faults.DELAY_ANSWER, faults.TRICKLE])
def test_what_comes_late_is_complete(place: Place, proxy: FaultProxy, fault: str) -> None:
    proxy.rules = [Rule(fault, 1.0, seconds=0.2)]
    client = place.connect()
    assert client.create("a")[0] == 201
    assert client.create("b")[0] == 201
    assert place.pods() == {"a", "b"}


def test_a_rule_hits_only_what_fits(place: Place, proxy: FaultProxy) -> None:
    client = place.connect()
    proxy.rules = [
        Rule(faults.FAILING, 1.0, methods=frozenset({"GET"})),
        Rule(faults.CONFLICT, 1.0, paths="/services"),
    ]
    assert client.create("a")[0] == 201
    answer = client.ask("GET", client.pods)
    assert (answer.status, bool(answer.read())) == (500, True)
    answer = client.ask("POST", client.pods.replace("/pods", "/services"), {})
    assert (answer.status, bool(answer.read())) == (409, True)


def statuses(client: Client, number: int) -> Sequence[int]:
    found = []
    for _ in range(number):
        answer = client.ask("GET", client.pods)
        answer.read()
        found.append(answer.status)
    return found


def test_the_same_seed_hits_the_same_requests(server: Server, tmp_path: Path) -> None:
    namespace, drawn = server.namespace(), []
    for _ in range(2):
        with fault_proxy(server.server, server.authority, tmp_path, seed=5) as proxy:
            proxy.rules = [Rule(faults.FAILING, 0.3, methods=EVERYTHING), Rule(faults.CONFLICT, 0.3)]
            client = Client(proxy, namespace)
            drawn.append(statuses(client, 40))
            client.close()
            assert drawn[-1].count(500) == proxy.counts[faults.FAILING]
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {200, 409, 500}


def test_cut_ends_what_is_under_way(place: Place, proxy: FaultProxy) -> None:
    client = place.connect()
    client.create("a")
    proxy.rules = [Rule(faults.TRICKLE, 1.0, seconds=1000.0)]
    answer = client.ask("GET", client.pods)
    ended = threading.Event()

    def read() -> None:
        with pytest.raises(LOST):
            answer.read()
        ended.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert proxy.cut() == 1
    reader.join(20)
    assert ended.is_set()


def test_a_server_that_is_away_cuts_the_connection(tmp_path: Path) -> None:
    with (
        fault_proxy("http://127.0.0.1:1", "", tmp_path) as proxy,
        closing(Client(proxy, "default")) as client,
        pytest.raises(LOST),
    ):
        client.create("a")
