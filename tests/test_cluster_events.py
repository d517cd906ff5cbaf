"""Kubernetes Events, over the double and over a real API server."""

import threading
from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from whereabouts.cluster import events
from whereabouts.cluster.events import FREED, NOT_FREED, Counts, EventRecorder
from whereabouts.stores.kube_api import ApiClient
from whereabouts.stores.kube_events import WARNING, Event

from . import cluster_objects
from .api_double import ApiDouble
from .api_double_requests import Asked, Fault
from .cluster_objects import create_definition, create_node, create_pod
from .cluster_servers import Server, client

LONG = 30.0


@pytest.fixture
def api(server: Server, tmp_path: Path) -> Iterator[ApiClient]:
    with client(server, tmp_path, "default") as api:
        yield api


def posted(server: Server, namespace: str) -> list[Any]:
    return cluster_objects.events(server, namespace)


def freed(name: str = "p", address: str = "10.0.0.1") -> Event:
    return Event(events.pod(f"ns/{name}"), FREED, f"successful cleanup of IP address [{address}]")


# ---------------------------------------------------------- over both servers


def test_an_event_on_a_pod_says_what_happened_to_it(server: Server, namespace: str, api: ApiClient) -> None:
    uid = create_pod(server, namespace, "p")["metadata"]["uid"]
    recorder = EventRecorder(api)
    recorder.record(Event(events.pod(f"{namespace}/p", uid), FREED, "freed it"))
    recorder.close(LONG)
    (event,) = posted(server, namespace)
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": namespace,
        "uid": uid,
    }
    assert (event["type"], event["reason"], event["message"]) == (
        "Normal",
        "IPAddressGarbageCollected",
        "freed it",
    )
    assert event["source"] == {"component": "whereabouts-controller"}
    assert event["count"] == 1
    assert recorder.counts == Counts(posted=1)


def test_pools_slice_pools_and_definitions_can_have_events(
    server: Server, namespace: str, api: ApiClient
) -> None:
    definition = create_definition(server, namespace, "blue", "")["metadata"]
    recorder = EventRecorder(api)
    for regarding in (
        events.pool("10.0.0.0-24", namespace),
        events.slice_pool("blue", namespace),
        events.definition(f"{namespace}/blue", definition["uid"]),
    ):
        recorder.record(Event(regarding, NOT_FREED, "it cannot be reached", WARNING))
    recorder.close(LONG)
    found = posted(server, namespace)
    assert [event["involvedObject"]["kind"] for event in found] == [
        "IPPool",
        "NodeSlicePool",
        "NetworkAttachmentDefinition",
    ]
    assert {event["type"] for event in found} == {"Warning"}


def test_the_longest_names_have_events_too(server: Server, namespace: str, api: ApiClient) -> None:
    recorder = EventRecorder(api)
    long = ".".join(["a" * 63] * 3 + ["c" * 30 + "-" * 20 + "d" * 10])
    recorder.record(Event(events.pod(f"{namespace}/{long}"), FREED, "freed it"))
    recorder.close(LONG)
    assert recorder.counts == Counts(posted=1)
    (event,) = posted(server, namespace)
    assert event["involvedObject"]["name"] == long


def test_an_event_on_a_node_is_in_the_default_namespace(server: Server, api: ApiClient) -> None:
    name = f"events-{server.namespace()}"
    create_node(server, name)
    recorder = EventRecorder(api)
    recorder.record(Event(events.node(name), "NodeWithoutSlice", "there is none left", WARNING))
    recorder.close(LONG)
    (event,) = [one for one in posted(server, "default") if one["involvedObject"].get("name") == name]
    assert event["reason"] == "NodeWithoutSlice"


def test_what_happens_again_is_counted_and_not_told_again(
    server: Server, namespace: str, api: ApiClient
) -> None:
    recorder = EventRecorder(api)
    event = Event(events.pool("10.0.0.0-24", namespace), "Full", "nothing is free")
    for count in range(1, 4):
        recorder.record(event)
        wait_for(recorder, posted=count)
    recorder.record(event._replace(message="nothing is free any more"))
    recorder.close(LONG)
    assert [(one["message"], one["count"]) for one in posted(server, namespace)] == [
        ("nothing is free", 3),
        ("nothing is free any more", 1),
    ]


def test_an_event_that_the_server_has_forgotten_is_told_again(
    server: Server, namespace: str, api: ApiClient
) -> None:
    recorder = EventRecorder(api)
    event = Event(events.pool("10.0.0.0-24", namespace), "Full", "nothing is free")
    recorder.record(event)
    wait_for(recorder, posted=1)
    (one,) = posted(server, namespace)
    server.call("DELETE", f"/api/v1/namespaces/{namespace}/events/{one['metadata']['name']}")
    recorder.record(event)
    recorder.close(LONG)
    (another,) = posted(server, namespace)
    assert another["count"] == 1
    assert recorder.counts == Counts(posted=2)


def wait_for(recorder: EventRecorder, **expected: int) -> None:
    deadline = threading.Event()
    timer = threading.Timer(LONG, deadline.set)
    timer.start()
    while not expected.items() <= recorder.counts._asdict().items():
        assert not deadline.is_set(), recorder.counts
    timer.cancel()


# ----------------------------------------------- what only the double can be made to do


@pytest.fixture
def of_double(double: ApiDouble, tmp_path: Path) -> Iterator[ApiClient]:
    with client(double, tmp_path, "default") as api:
        yield api


class Gate:
    """Requests wait until it is opened."""

    def __init__(self, double: ApiDouble) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        double.fault = self._wait

    def _wait(self, asked: Asked) -> Fault | None:
        self.reached.set()
        self._open.wait(LONG)
        return None

    def open(self) -> None:
        self._open.set()


def test_a_burst_waits_for_nobody_and_what_is_too_much_is_counted(
    double: ApiDouble, of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUED", 100)
    gate = Gate(double)
    recorder = EventRecorder(of_double, burst=1000)
    recorder.record(freed("first"))
    assert gate.reached.wait(LONG)
    for n in range(1000):
        recorder.record(freed(f"p{n}"))
    assert recorder.counts == Counts(dropped=900)
    gate.open()
    recorder.close(LONG)
    assert recorder.counts == Counts(posted=101, dropped=900)
    assert len(posted(double, "ns")) == 101


def test_events_that_wait_and_are_the_same_are_one(double: ApiDouble, of_double: ApiClient) -> None:
    gate = Gate(double)
    recorder = EventRecorder(of_double)
    recorder.record(freed("first"))
    assert gate.reached.wait(LONG)
    for _ in range(5):
        recorder.record(freed("p"))
    gate.open()
    recorder.close(LONG)
    assert [one["count"] for one in posted(double, "ns")] == [1, 5]


def test_after_a_burst_events_are_posted_at_the_rate(
    double: ApiDouble, of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    waits: list[float] = []

    def wait_for(self: threading.Condition, predicate: Any, timeout: float) -> bool:
        nonlocal now
        waits.append(timeout)
        now += timeout
        return False

    monkeypatch.setattr(events, "monotonic", lambda: now)
    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)
    recorder = EventRecorder(of_double, burst=5, rate=2.0)
    with recorder._changed:  # so that it begins when all are there
        for n in range(9):
            recorder.record(freed(f"p{n}"))
    while recorder.counts.posted < 9:
        sleep(0.01)
    recorder.close(LONG)
    assert waits == [0.5] * 4


def test_an_event_that_the_server_refuses_is_counted_and_the_next_is_posted(
    double: ApiDouble, of_double: ApiClient
) -> None:
    double.fault = lambda asked: Fault(403) if asked.body["involvedObject"]["name"] == "bad" else None
    recorder = EventRecorder(of_double)
    recorder.record(freed("bad"))
    recorder.record(freed("good"))
    recorder.close(LONG)
    assert recorder.counts == Counts(posted=1, failed=1)
    (one,) = posted(double, "ns")
    assert one["involvedObject"]["name"] == "good"


def test_an_answer_that_is_none_does_not_end_the_telling(
    of_double: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([b"<html>", b"{}"])
    monkeypatch.setattr(of_double, "fetch", lambda *_: next(answers))
    recorder = EventRecorder(of_double)
    recorder.record(freed("first"))
    recorder.record(freed("second"))
    recorder.close(LONG)
    assert recorder.counts == Counts(posted=1, failed=1)


def test_closing_waits_no_longer_than_it_may_and_counts_what_is_left(
    double: ApiDouble, of_double: ApiClient
) -> None:
    gate = Gate(double)
    recorder = EventRecorder(of_double)
    recorder.record(freed("first"))
    assert gate.reached.wait(LONG)
    recorder.record(freed("second"))
    recorder.close(0.01)
    assert recorder.counts == Counts(dropped=1)
    recorder.record(freed("third"))
    assert recorder.counts == Counts(dropped=2)
    gate.open()


def test_a_long_message_is_cut(double: ApiDouble, of_double: ApiClient) -> None:
    recorder = EventRecorder(of_double)
    recorder.record(Event(events.pod("ns/p"), FREED, "x" * 5000))
    recorder.close(LONG)
    (one,) = posted(double, "ns")
    assert one["message"] == "x" * 1024
