"""Following a collection, over the double and over a real API server, through a network that fails."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from urllib.parse import urlsplit

import msgspec
import pytest

from whereabouts.cluster import reading, watching
from whereabouts.cluster.forms import Form, Metadata
from whereabouts.cluster.reading import PODS
from whereabouts.cluster.watching import Change, Synced, Watch
from whereabouts.log import Log
from whereabouts.stores import kube_api
from whereabouts.stores.kube_api import ApiClient

from .api_double import ApiDouble
from .api_double_requests import Asked, Fault
from .cluster_objects import annotate, create_definition, create_node, create_pod, delete_node, delete_pod
from .cluster_servers import Server, client
from .cutting_proxy import CuttingProxy, cutting_proxy

SOON = 30.0
"""Seconds after which something that should have come will not come."""
MARK = "test/mark"


class Marked(Metadata, rename="camel"):
    annotations: dict[str, str] | None = None
    deletion_timestamp: str = ""


class Marks(msgspec.Struct):
    metadata: Marked


mark_of = Form(Marks, lambda content: (content.metadata.annotations or {}).get(MARK, ""))
"""What these tests keep of an object."""


class Follower:
    """A thread that follows a watch, and what it was told."""

    def __init__(self, watch: Watch[str], prefix: str = "") -> None:
        self.watch = watch
        self._prefix = prefix
        self._told: queue.SimpleQueue[Change[str] | Synced] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for change in self.watch.changes():
            if isinstance(change, Synced) or change.key.startswith(self._prefix):
                self._told.put(change)

    def next(self) -> tuple[str, str, str] | Synced:
        """The next change of an object whose key has the prefix, as kind, name and value; or Synced."""
        change = self._told.get(timeout=SOON)
        if isinstance(change, Synced):
            return change
        return change.kind, change.key.removeprefix(self._prefix), change.value

    def until_synced(self) -> list[tuple[str, str, str]]:
        found = []
        while not isinstance(change := self.next(), Synced):
            found.append(change)
        return sorted(found)

    def quiet(self) -> bool:
        return self._told.empty()

    def ended(self) -> bool:
        self._thread.join(SOON)
        return not self._thread.is_alive()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(kube_api, "FIRST_PAUSE", 0.01)


@pytest.fixture
def proxy(server: Server) -> Iterator[CuttingProxy]:
    port = urlsplit(server.server).port
    assert port is not None
    with cutting_proxy(port) as proxy:
        yield proxy


@pytest.fixture
def api(server: Server, proxy: CuttingProxy, tmp_path: Path) -> Iterator[ApiClient]:
    with client(server, tmp_path, "default", proxy.port) as api:
        yield api


@contextmanager
def following(watch: Watch[str], prefix: str = "") -> Iterator[Follower]:
    follower = Follower(watch, prefix)
    try:
        yield follower
    finally:
        watch.stop()
        assert follower.ended()


def mark(server: Server, namespace: str, name: str, value: str) -> None:
    annotate(server, namespace, name, {MARK: value})


# ------------------------------------------------------------------- what happens


def test_what_is_there_comes_first_and_then_what_happens(
    server: Server, namespace: str, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE", 1)
    create_pod(server, namespace, "a", annotations={MARK: "1"})
    create_pod(server, namespace, "b")
    watch = Watch(api, PODS, mark_of)
    assert watch.snapshot() is None
    with following(watch, f"{namespace}/") as follower:
        assert follower.until_synced() == [("added", "a", "1"), ("added", "b", "")]
        create_pod(server, namespace, "c", annotations={MARK: "2"})
        assert follower.next() == ("added", "c", "2")
        mark(server, namespace, "c", "3")
        assert follower.next() == ("modified", "c", "3")
        snapshot = watch.snapshot()
        assert snapshot is not None
        assert {key: value for key, value in snapshot.items() if key.startswith(namespace)} == {
            f"{namespace}/a": "1",
            f"{namespace}/b": "",
            f"{namespace}/c": "3",
        }
        delete_pod(server, namespace, "c")
        assert follower.next() == ("deleted", "c", "3")
    assert watch.lists == 1


def test_changes_of_what_is_not_kept_are_not_told(server: Server, namespace: str, api: ApiClient) -> None:
    with following(Watch(api, PODS, mark_of), f"{namespace}/") as follower:
        follower.until_synced()
        create_pod(server, namespace, "a")
        assert follower.next() == ("added", "a", "")
        annotate(server, namespace, "a", {"other": "x"})
        mark(server, namespace, "a", "1")
        assert follower.next() == ("modified", "a", "1")


def test_a_deleted_object_comes_as_it_was_last(server: Server, namespace: str, api: ApiClient) -> None:
    deletion = Form(Marks, lambda content: str(bool(content.metadata.deletion_timestamp)))
    with following(Watch(api, PODS, deletion), f"{namespace}/") as follower:
        follower.until_synced()
        create_pod(server, namespace, "a", node="n")
        assert follower.next() == ("added", "a", "False")
        delete_pod(server, namespace, "a", force=False)
        assert follower.next() == ("modified", "a", "True")
        delete_pod(server, namespace, "a")
        assert follower.next() == ("deleted", "a", "True")


def test_objects_in_no_namespace_are_called_by_their_names(server: Server, api: ApiClient) -> None:
    name = f"watching-{server.namespace()}"
    with following(Watch(api, reading.NODES, mark_of), name) as follower:
        follower.until_synced()
        create_node(server, name)
        assert follower.next() == ("added", "", "")
        delete_node(server, name)
        assert follower.next() == ("deleted", "", "")


def test_a_watch_that_begins_at_a_revision_lists_nothing(
    server: Server, namespace: str, api: ApiClient
) -> None:
    create_pod(server, namespace, "a", annotations={MARK: "1"})
    revision = server.call("GET", PODS).body["metadata"]["resourceVersion"]
    delete_pod(server, namespace, "a")
    watch = Watch(api, PODS, mark_of, revision=revision)
    with following(watch, f"{namespace}/") as follower:
        first = follower.next()
        if first == ("added", "a", "1"):  # a real server marks a pod as going before it goes
            first = follower.next()
        assert first == ("deleted", "a", "1")
        create_pod(server, namespace, "b")
        assert follower.next() == ("added", "b", "")
        assert watch.snapshot() is None
    assert watch.lists == 0


def test_what_is_kept_can_be_kept_small(server: Server, namespace: str, api: ApiClient) -> None:
    packed = mark_of._replace(
        pack=lambda value: f"packed {value}", unpack=lambda key, text: f"{key} {text.split()[-1]}"
    )
    watch = Watch(api, PODS, packed)
    with following(watch, f"{namespace}/") as follower:
        follower.until_synced()
        create_pod(server, namespace, "a", annotations={MARK: "1"})
        assert follower.next() == ("added", "a", "1")
        snapshot = watch.snapshot()
        assert snapshot is not None
        assert snapshot[f"{namespace}/a"] == f"{namespace}/a 1"
        delete_pod(server, namespace, "a")
        assert follower.next() == ("deleted", "a", f"{namespace}/a 1")


def test_a_watch_that_ends_in_time_is_begun_again_and_nothing_is_lost(
    server: Server, namespace: str, proxy: CuttingProxy, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WATCH_SECONDS", 1)
    watch = Watch(api, PODS, mark_of)
    with following(watch, f"{namespace}/") as follower:
        follower.until_synced()
        begun = proxy.accepted
        for n in itertools.count():
            create_pod(server, namespace, f"p{n}")
            assert follower.next() == ("added", f"p{n}", "")
            if proxy.accepted >= begun + 2:
                break
    assert (watch.lists, watch.cuts) == (1, 0)


# --------------------------------------------------------------------- what fails


def test_a_watch_that_is_cut_goes_on_where_it_ended_and_lists_nothing(
    server: Server, namespace: str, proxy: CuttingProxy, api: ApiClient
) -> None:
    watch = Watch(api, PODS, mark_of)
    with following(watch, f"{namespace}/") as follower:
        follower.until_synced()
        create_pod(server, namespace, "a")
        assert follower.next() == ("added", "a", "")
        for n in range(20):
            proxy.cut()
            mark(server, namespace, "a", str(n))
            assert follower.next() == ("modified", "a", str(n))
        proxy.refuse()
        delete_pod(server, namespace, "a")
        create_pod(server, namespace, "a", annotations={MARK: "new"})
        proxy.serve()
        assert [follower.next(), follower.next()] == [("deleted", "a", "19"), ("added", "a", "new")]
        assert follower.quiet()
    assert watch.lists == 1
    assert watch.cuts >= 20


def test_a_revision_that_is_forgotten_leads_to_a_list(server: Server, namespace: str, api: ApiClient) -> None:
    create_definition(server, namespace, "a", "")
    if isinstance(server, ApiDouble):
        server.compact()
    watch = Watch(api, reading.DEFINITIONS, mark_of, revision="1")
    with following(watch, f"{namespace}/") as follower:
        assert follower.until_synced() == [("added", "a", "")]
        create_definition(server, namespace, "b", "")
        assert follower.next() == ("added", "b", "")
    assert watch.lists == 1


def test_a_connection_that_has_gone_silent_is_given_up(
    server: Server, namespace: str, proxy: CuttingProxy, api: ApiClient
) -> None:
    if isinstance(server, ApiDouble):
        server.bookmarks = False
    watch = Watch(api, PODS, mark_of, silence=0.3)
    with following(watch, f"{namespace}/") as follower:
        follower.until_synced()
        create_pod(server, namespace, "a")
        assert follower.next() == ("added", "a", "")
        proxy.hold()
        mark(server, namespace, "a", "1")
        while watch.cuts == 0:
            assert follower.quiet()
            sleep(0.01)
        proxy.serve()
        assert follower.next() == ("modified", "a", "1")
    assert watch.lists == 1


def test_a_watch_that_waits_for_the_next_event_stops_when_it_is_told(server: Server, api: ApiClient) -> None:
    watch = Watch(api, PODS, mark_of)
    follower = Follower(watch)
    follower.until_synced()
    while watch._stream is None and follower.quiet():
        sleep(0.01)
    watch.stop()
    assert follower.ended()
    assert list(watch.changes()) == []


def test_a_watch_of_a_server_that_is_away_stops_when_it_is_told(
    proxy: CuttingProxy, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE", 1e6)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 1e6)
    monkeypatch.setattr(kube_api, "FIRST_PAUSE", 1e6)
    monkeypatch.setattr(kube_api, "LONGEST_PAUSE", 1e6)
    proxy.refuse()
    watch = Watch(api, PODS, mark_of)
    follower = Follower(watch)
    while proxy.accepted == 0:
        sleep(0.01)
    watch.stop()
    assert follower.ended()


def test_a_list_stops_when_it_is_told(
    server: Server, namespace: str, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE", 1)
    for name in "abc":
        create_pod(server, namespace, name)
    watch = Watch(api, PODS, mark_of)
    told = []
    for change in watch.changes():
        told.append(change)
        watch.stop()
    assert len(told) == 1


# ------------------------------------------------ what only the double can be made to do


@pytest.fixture
def of_double(double: ApiDouble, tmp_path: Path) -> Iterator[ApiClient]:
    with client(double, tmp_path, "default") as api:
        yield api


def lists(double: ApiDouble) -> int:
    return sum(asked.lists for asked in double.asked)


def watches(double: ApiDouble) -> int:
    return sum(asked.watches for asked in double.asked)


def away(
    double: ApiDouble,
    meanwhile: Callable[[], None],
    then: Callable[[Asked], Fault | None] = lambda _: None,
) -> None:
    """Cut all watches, let something happen, and forget that it did; ``then`` requests fail so."""
    gate = threading.Event()
    refused = threading.Event()

    def fault(asked: Asked) -> Fault | None:
        if gate.is_set():
            return then(asked)
        refused.set()
        return Fault(503)

    double.fault = fault
    double.cut()
    assert refused.wait(SOON)
    meanwhile()
    double.compact()
    gate.set()


def test_what_vanished_before_a_new_list_is_told_to_be_deleted(
    double: ApiDouble, of_double: ApiClient
) -> None:
    for name in "abcd":
        create_pod(double, "ns", name, annotations={MARK: name})

    def meanwhile() -> None:
        delete_pod(double, "ns", "a")
        delete_pod(double, "ns", "b")
        create_pod(double, "ns", "b", annotations={MARK: "another"})
        mark(double, "ns", "c", "changed")
        create_pod(double, "ns", "e", annotations={MARK: "e"})

    watch = Watch(of_double, PODS, mark_of)
    with following(watch, "ns/") as follower:
        follower.until_synced()
        away(double, meanwhile)
        assert follower.until_synced() == [
            ("added", "b", "another"),
            ("added", "e", "e"),
            ("deleted", "a", "a"),
            ("deleted", "b", "b"),
            ("modified", "c", "changed"),
        ]
        assert watch.snapshot() == {"ns/b": "another", "ns/c": "changed", "ns/d": "d", "ns/e": "e"}
    assert watch.lists == 2


def test_a_list_that_fails_half_way_tells_of_no_deletion(
    double: ApiDouble, of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE", 2)
    for name in "abcd":
        create_pod(double, "ns", name)
    failing = itertools.count()
    with following(Watch(of_double, PODS, mark_of), "ns/") as follower:
        follower.until_synced()
        away(
            double,
            lambda: delete_pod(double, "ns", "a"),
            lambda asked: Fault(403) if "continue" in asked.query and next(failing) < 3 else None,
        )
        assert follower.until_synced() == [("deleted", "a", "")]
        assert next(failing) > 3


def test_what_went_while_a_list_began_again_is_told_to_be_deleted(
    double: ApiDouble, of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE", 1)
    create_pod(double, "ns", "a")
    create_pod(double, "ns", "b")

    def fault(asked: Asked) -> Fault | None:
        if "continue" not in asked.query or ("ns", "pods", "a") not in double.objects:
            return None
        delete_pod(double, "ns", "a")
        return Fault(410)

    double.fault = fault
    with following(Watch(of_double, PODS, mark_of), "ns/") as follower:
        assert follower.until_synced() == [("added", "a", ""), ("added", "b", ""), ("deleted", "a", "")]


def test_a_quiet_watch_may_last_longer_than_an_answer(
    double: ApiDouble, of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "ATTEMPT", 1.0)
    double.bookmarks = False
    watch = Watch(of_double, PODS, mark_of)
    with following(watch, "ns/") as follower:
        follower.until_synced()
        create_pod(double, "ns", "a")
        assert follower.next() == ("added", "a", "")
        sleep(1.5)
        create_pod(double, "ns", "b")
        assert follower.next() == ("added", "b", "")
    assert watch.cuts == 0


@pytest.mark.parametrize("code", [410, 500, 403, 404, 0])
def test_watches_that_always_fail_are_tried_ever_less_often(
    double: ApiDouble, of_double: ApiClient, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(watching, "LONGEST_PAUSE", 30.0)
    double.fault = lambda asked: Fault(code) if asked.watches else None
    pauses: list[float] = []
    watch = Watch(of_double, PODS, mark_of)

    def note(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 12:
            watch.stop()

    monkeypatch.setattr(watch, "_sleep", note)
    monkeypatch.setattr(of_double, "_patience", 0.0)
    for _ in watch.changes():
        pass
    expected = [min(0.2 * 2**n, 30.0) for n in range(12)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, expected, strict=True))
    assert watches(double) == 12
    assert lists(double) == watch.lists == (12 if code == 410 else 1)


def test_a_kind_that_is_not_known_yet_is_followed_once_it_is(double: ApiDouble, of_double: ApiClient) -> None:
    kind = double.kinds.pop("nodes")
    watch = Watch(of_double, reading.NODES, mark_of)
    with following(watch) as follower:
        while watch.cuts < 3:
            assert follower.quiet()
            sleep(0.01)
        assert watch.snapshot() is None
        double.kinds["nodes"] = kind
        assert follower.next() == Synced(0)
        create_node(double, "n")
        assert follower.next() == ("added", "n", "")


def test_what_goes_wrong_is_said_once(double: ApiDouble, of_double: ApiClient) -> None:
    double.fault = lambda asked: Fault(403)
    lines: list[str] = []
    watch = Watch(of_double, PODS, mark_of, Log("error", lines.append))
    with following(watch):
        while watch.cuts < 5:
            sleep(0.01)
    (line,) = lines
    assert f"watch of {PODS}: the API server answers 403" in line


def test_a_token_that_was_replaced_is_read_again_for_a_watch(
    double: ApiDouble, of_double: ApiClient, tmp_path: Path
) -> None:
    with following(Watch(of_double, PODS, mark_of), "ns/") as follower:
        follower.until_synced()
        path = tmp_path / "kubeconfig"
        path.write_text(path.read_text().replace("admin-token", "another"))
        double.token = "another"
        double.cut()
        create_pod(double, "ns", "a")
        assert follower.next() == ("added", "a", "")
    assert lists(double) == 1


def test_bookmarks_keep_a_quiet_watch_from_listing_again(double: ApiDouble, of_double: ApiClient) -> None:
    watch = Watch(of_double, reading.NODES, mark_of)
    with following(watch) as follower:
        follower.until_synced()
        for n in range(5):
            create_pod(double, "ns", f"p{n}")
        while watch._revision != str(double.now):
            sleep(0.01)
        double.compact()
        double.cut()
        create_node(double, "n")
        assert follower.next() == ("added", "n", "")
    assert lists(double) == 1
