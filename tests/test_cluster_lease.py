"""Who holds a lease, over the double and over a real API server."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from whereabouts.cluster.lease import Lease, own_identity
from whereabouts.deadline import Deadline
from whereabouts.stores.kube_api import ApiClient, NotFound, Refused, Request

from .api_double import ApiDouble
from .api_double_requests import Fault
from .cluster_servers import Server, client

SOON = 30.0
NAME = "whereabouts-controller"
MICRO = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


class Clock:
    """A clock that a test sets; each process has its own."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def api(server: Server, tmp_path: Path, namespace: str) -> Iterator[ApiClient]:
    with client(server, tmp_path, namespace) as api:
        yield api


def candidate(api: ApiClient, name: str, now: float = 0.0) -> tuple[Lease, Clock]:
    clock = Clock(now)
    return Lease(api, NAME, identity=name, duration=15, clock=clock), clock


def attempt(lease: Lease) -> bool:
    return lease.attempt(Deadline(SOON))


def record(server: Server, namespace: str) -> Any:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}"
    return server.call("GET", path).body["spec"]


def test_the_first_takes_a_lease_that_nobody_has_and_the_next_does_not(
    server: Server, namespace: str, api: ApiClient
) -> None:
    (one, _), (two, _) = candidate(api, "one"), candidate(api, "two")
    assert attempt(one)
    assert not attempt(two)
    assert (one.held, two.held) == (True, False)
    spec = record(server, namespace)
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 0)
    assert spec["acquireTime"] == spec["renewTime"]


def test_a_holder_renews_with_one_request_and_keeps_when_it_began(
    server: Server, namespace: str, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease, clock = candidate(api, "one")
    attempt(lease)
    before = record(server, namespace)
    methods: list[str] = []
    fetch = ApiClient.fetch

    def noted(api: ApiClient, request: Request, deadline: Deadline) -> bytes:
        methods.append(request.method)
        return fetch(api, request, deadline)

    monkeypatch.setattr(ApiClient, "fetch", noted)
    clock.now = 14.0
    assert attempt(lease)
    clock.now = 28.0
    assert lease.held
    assert methods == ["PUT"]
    after = record(server, namespace)
    assert after["acquireTime"] == before["acquireTime"]
    assert after["renewTime"] > before["renewTime"]


def test_a_lease_is_taken_over_once_it_has_not_changed_for_its_duration_on_the_own_clock(
    server: Server, namespace: str, api: ApiClient
) -> None:
    (one, first), (two, second) = candidate(api, "one", now=5e6), candidate(api, "two", now=7.0)
    attempt(one)
    assert not attempt(two)
    second.now += 14.9
    assert not attempt(two)
    first.now += 1
    attempt(one)
    second.now += 14.9
    assert not attempt(two)  # it has changed since
    second.now += 14.9
    assert not attempt(two)
    second.now += 0.1
    assert attempt(two)
    spec = record(server, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)
    assert not attempt(one)
    assert not one.held


def test_the_duration_that_counts_is_the_holders(api: ApiClient) -> None:
    clock = Clock()
    holder = Lease(api, NAME, identity="one", duration=60, clock=clock)
    attempt(holder)
    two, own = candidate(api, "two")
    assert not attempt(two)
    own.now = 59.9
    assert not attempt(two)
    own.now = 60.0
    assert attempt(two)


def test_a_holder_that_cannot_renew_ends_by_its_own_clock(api: ApiClient) -> None:
    lease, clock = candidate(api, "one")
    attempt(lease)
    clock.now = 14.9
    assert lease.held
    clock.now = 15.0
    assert not lease.held


def test_a_lease_that_was_given_back_is_taken_at_once(server: Server, namespace: str, api: ApiClient) -> None:
    (one, _), (two, _) = candidate(api, "one"), candidate(api, "two")
    attempt(one)
    assert not attempt(two)
    one.release(Deadline(SOON))
    assert not one.held
    assert not record(server, namespace).get("holderIdentity")
    assert attempt(two)


def test_giving_back_what_is_not_held_does_nothing(server: Server, namespace: str, api: ApiClient) -> None:
    (one, _), (two, _) = candidate(api, "one"), candidate(api, "two")
    attempt(one)
    attempt(two)
    two.release(Deadline(SOON))
    assert record(server, namespace)["holderIdentity"] == "one"


def test_giving_back_late_does_not_take_from_the_next_holder(
    server: Server, namespace: str, api: ApiClient
) -> None:
    (one, _), (two, second) = candidate(api, "one"), candidate(api, "two")
    attempt(one)
    attempt(two)
    second.now = 15.0
    assert attempt(two)
    one.release(Deadline(SOON))
    assert record(server, namespace)["holderIdentity"] == "two"


def test_a_lease_that_somebody_deleted_is_taken_anew(server: Server, namespace: str, api: ApiClient) -> None:
    lease, _ = candidate(api, "one")
    attempt(lease)
    server.call("DELETE", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}")
    assert not attempt(lease)
    assert attempt(lease)


def test_of_many_candidates_one_takes_it(api: ApiClient) -> None:
    leases = [Lease(api, NAME, duration=15) for _ in range(8)]
    barrier = threading.Barrier(len(leases))
    results: list[bool] = []

    def run(lease: Lease) -> None:
        barrier.wait()
        results.append(attempt(lease))

    threads = [threading.Thread(target=run, args=(lease,)) for lease in leases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False] * 7 + [True]
    assert sum(lease.held for lease in leases) == 1


def test_no_two_processes_have_one_identity() -> None:
    assert own_identity() != own_identity()


def test_keeping_it_tells_when_it_is_had_and_gives_it_back_in_the_end(
    server: Server, namespace: str, api: ApiClient
) -> None:
    told: list[tuple[str, bool]] = []
    changed = threading.Semaphore(0)

    def note(name: str) -> Callable[[bool], None]:
        def changes(held: bool) -> None:
            told.append((name, held))
            changed.release()

        return changes

    stops, threads = [threading.Event(), threading.Event()], []
    for name, stop in zip(("one", "two"), stops, strict=True):
        lease = Lease(api, NAME, identity=name, duration=3)
        threads.append(threading.Thread(target=lease.keep, args=(stop, note(name))))
        threads[-1].start()
        if name == "one":
            assert changed.acquire(timeout=SOON)
    stops[0].set()
    assert changed.acquire(timeout=SOON)
    assert changed.acquire(timeout=SOON)
    stops[1].set()
    for thread in threads:
        thread.join()
    assert sorted(told[1:3]) == [("one", False), ("two", True)]
    assert told[0] == ("one", True)
    assert told[3:] == [("two", False)]
    assert not record(server, namespace).get("holderIdentity")


# ----------------------------------------------- what only the double can be made to do


@pytest.fixture
def of_double(double: ApiDouble, tmp_path: Path) -> Iterator[ApiClient]:
    with client(double, tmp_path, "ns") as api:
        yield api


def test_an_answer_that_was_lost_is_found_out_by_reading(double: ApiDouble, of_double: ApiClient) -> None:
    lease, _ = candidate(of_double, "one")
    attempt(lease)
    faults = [Fault(after=True)]
    double.fault = lambda asked: faults.pop() if faults else None
    assert attempt(lease)  # its last renewal that is known of holds
    assert attempt(lease)
    assert record(double, "ns")["leaseTransitions"] == 0


def test_renewals_without_an_answer_do_not_end_a_hold_before_its_time(
    double: ApiDouble, of_double: ApiClient
) -> None:
    lease, clock = candidate(of_double, "one")
    attempt(lease)
    double.fault = lambda asked: Fault(after=True) if asked.method == "PUT" else None
    for clock.now in (3.0, 6.0, 14.9):
        assert lease.attempt(Deadline(0.3))
    clock.now = 15.0
    assert not lease.attempt(Deadline(0.3))


def test_a_renewal_without_an_answer_does_not_hide_that_another_holds(
    double: ApiDouble, of_double: ApiClient
) -> None:
    lease, clock = candidate(of_double, "one")
    attempt(lease)
    double.fault = lambda asked: Fault() if asked.method == "PUT" else None
    clock.now = 3.0
    assert lease.attempt(Deadline(0.3))
    double.fault = lambda _: None
    other, its_clock = candidate(of_double, "two")
    other.attempt(Deadline(SOON))
    its_clock.now = 15.0
    assert attempt(other)
    assert not attempt(lease)


def test_an_error_does_not_end_a_hold_before_its_time(double: ApiDouble, of_double: ApiClient) -> None:
    lease, clock = candidate(of_double, "one")
    attempt(lease)
    double.fault = lambda asked: Fault(403)
    with pytest.raises(Refused):
        attempt(lease)
    assert lease.held
    clock.now = 15.0
    assert not lease.held


def test_where_leases_are_not_known_the_error_says_so(double: ApiDouble, of_double: ApiClient) -> None:
    del double.kinds["leases"]
    lease, _ = candidate(of_double, "one")
    with pytest.raises(NotFound):
        attempt(lease)


def test_the_hold_counts_from_the_question_and_not_from_the_answer(
    double: ApiDouble, of_double: ApiClient
) -> None:
    lease, clock = candidate(of_double, "one")
    attempt(lease)

    def slowly(_: object) -> None:
        clock.now = 12.0

    double.fault = slowly
    clock.now = 5.0
    assert attempt(lease)
    clock.now = 19.9
    assert lease.held
    clock.now = 20.0
    assert not lease.held
