"""Every request of ADD and DEL fails in turn, in every way an API server or a network can."""

import fcntl
import itertools
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.store import Conflict, StoreError, Unavailable, Unsettled
from whereabouts.stores import kube_api
from whereabouts.stores.kube_access import AccessError, from_kubeconfig, from_pod
from whereabouts.stores.kube_api import Refused, Request
from whereabouts.stores.kube_migration import repair_reservations
from whereabouts.stores.kube_objects import RESERVATIONS
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble, api_double
from .api_double_requests import Asked, Fault
from .api_server import kubeconfig, resources
from .fault_proxy import TRICKLE, Rule, fault_proxy
from .faults import Killed
from .kube_requests import recorded
from .kubernetes_contract import fill, free
from .store_contract import KEY, SOON, add, allocations, block_with, delete, demand, pod

BOTH = demand("10.0.0.0/22", "fd00::/64")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_api, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(kube_api, "ATTEMPT", 0.15)


@pytest.fixture
def server() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


@pytest.fixture
def opened() -> Iterator[Callable[..., KubernetesStore]]:
    """Opens stores, by the paths of kubeconfigs, that are closed in the end."""
    with ExitStack() as stack:

        def opened(path: str, **options: Any) -> KubernetesStore:
            store = KubernetesStore(from_kubeconfig(path), **({"patience": 2.0} | options))
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def open_store(
    server: ApiDouble, tmp_path: Path, opened: Callable[..., KubernetesStore]
) -> Callable[[], KubernetesStore]:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, server.namespace())
    return lambda: opened(path)


def only(number: int, fault: Fault) -> Callable[[Asked], Fault | None]:
    """Let the request of that number fail, counted from now on."""
    count = itertools.count()
    return lambda _: fault if next(count) == number else None


PASSING = {
    "500": Fault(500),
    "503": Fault(503, retry_after="0"),
    "504": Fault(504),
    "429": Fault(429, retry_after="0"),
    "reset": Fault(0),
    "500 though it was done": Fault(500, after=True),
    "504 though it was done": Fault(504, after=True),
    "cut though it was done": Fault(0, after=True),
    "answered too late": Fault(504, after=True, seconds=0.2),
}
LASTING = {"403": Fault(403), "400": Fault(400), "422": Fault(422), "413": Fault(413)}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_waited_out_and_what_was_done_is_not_done_twice(
    server: ApiDouble, open_store: Callable[[], KubernetesStore], name: str
) -> None:
    for at in itertools.count():
        one, two = open_store(), open_store()
        server.objects.clear()
        fill(one, "10.0.0.0", free=1)
        add(two, BOTH, pod(1))
        server.asked.clear()
        server.fault = only(at, PASSING[name])
        given = [add(one, BOTH, pod(n)) for n in (2, 3)]
        free(two, BOTH, pod(100_000 + 7), "10.0.0.7")
        given.append(add(one, BOTH, pod(4)))
        reached = len(server.asked) > at
        server.fault = lambda _: None
        assert given == [
            ["10.0.1.1", "fd00::2"],
            ["10.0.1.2", "fd00::3"],
            ["10.0.0.7", "fd00::4"],
        ], f"at request {at}: {server.asked[at]}"
        for n in (1, 2, 3, 4):
            delete(one, BOTH, pod(n))
        left = {address for address, ref in allocations(one)}
        assert left == {f"10.0.0.{n}" for n in range(1, 255)} - {"10.0.0.7"}
        one.close()
        two.close()
        if not reached:
            break
    assert at > 12


@pytest.mark.parametrize("name", LASTING)
def test_what_is_refused_fails_the_call_and_leaves_nothing_behind(
    server: ApiDouble, open_store: Callable[[], KubernetesStore], name: str
) -> None:
    for at in itertools.count():
        server.objects.clear()
        store = open_store()
        server.asked.clear()
        server.fault = only(at, LASTING[name])
        try:
            add(store, BOTH, pod(1))
            delete(store, BOTH, pod(1))
        except StoreError as error:
            assert isinstance(error, Refused), error  # noqa: PT017
        reached = len(server.asked) > at
        server.fault = lambda _: None
        delete(store, BOTH, pod(1))
        assert allocations(store) == [], f"at request {at}"
        store.close()
        if not reached:
            break
    assert at > 5


def test_a_process_that_dies_at_any_request_loses_nothing_that_the_runtimes_delete_does_not_give_back(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    for at in itertools.count():
        server.objects.clear()
        dying, next_one = open_store(), open_store()
        fill(next_one, "10.0.0.0", free=1)
        settled = sorted(allocations(next_one))
        number = itertools.count()

        def die(_: Request, number: Iterator[int] = number, at: int = at) -> None:
            if next(number) == at:
                raise Killed

        died = False
        with recorded(dying, die):
            try:
                add(dying, BOTH, pod(1))
                add(dying, BOTH, pod(2))
                delete(dying, BOTH, pod(1))
            except Killed:
                died = True
        for n in (1, 2):
            delete(next_one, BOTH, pod(n))
        assert sorted(allocations(next_one)) == settled
        if not died:
            break
    assert at > 8


@pytest.mark.parametrize("name", ["killed", *PASSING, *LASTING])
def test_beside_the_go_plugin_a_repair_finds_what_any_failure_left(
    server: ApiDouble, tmp_path: Path, opened: Callable[..., KubernetesStore], name: str
) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, "ns")
    range_ = demand("10.0.0.0/24")
    for at in itertools.count():
        server.objects.clear()
        failing, working = (opened(path, coexist_with_upstream=True) for _ in range(2))
        add(working, range_, pod(1))
        number = itertools.count()

        def die(_: Request, number: Iterator[int] = number, at: int = at) -> None:
            if name == "killed" and next(number) == at:
                raise Killed

        server.asked.clear()
        server.fault = only(at, {**PASSING, **LASTING}[name]) if name != "killed" else lambda _: None
        with recorded(failing, die) as requests, suppress(WhereaboutsError, Unsettled, Killed):
            add(failing, range_, pod(2))
            add(working, range_, pod(3))
            delete(failing, range_, pod(2))
        reached = len(requests if name == "killed" else server.asked) > at
        server.fault = lambda _: None
        for n in (2, 3):
            delete(working, range_, pod(n))
        repair_reservations(working, Deadline(SOON))
        assert [ref for _, ref in allocations(working)] == ["default/pod-1"], f"at {at}"
        assert {key[2] for key in server.objects if key[1] == RESERVATIONS} == {"10.0.0.1"}, f"at {at}"
        if not reached:
            break
    assert at > 8


def put_pool_of_go(server: ApiDouble, store: KubernetesStore) -> None:
    """A pool as the Go plugin writes it, with allocations in two blocks."""
    allocations_of_go = {str(n): {"id": f"{n:x}", "podref": f"default/go-{n}"} for n in (1, 2, 300)}
    pool = {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": "10.0.0.0-22"},
        "spec": {"range": "10.0.0.0/22", "allocations": allocations_of_go},
    }
    assert server.call("POST", resources(store.resources.namespace, "ippools"), pool).status == 201


@pytest.mark.parametrize("name", LASTING)
def test_an_adoption_that_is_refused_is_gone_on_with_and_loses_nothing(
    server: ApiDouble, open_store: Callable[[], KubernetesStore], name: str
) -> None:
    for at in itertools.count():
        server.objects.clear()
        refused, next_one = open_store(), open_store()
        put_pool_of_go(server, refused)
        server.asked.clear()
        server.fault = only(at, LASTING[name])
        with suppress(StoreError):
            add(refused, demand("10.0.0.0/22"), pod(9))
        reached = len(server.asked) > at
        server.fault = lambda _: None
        delete(next_one, demand("10.0.0.0/22"), pod(9))
        assert add(next_one, demand("10.0.0.0/22"), pod(10)) == ["10.0.0.3"], f"at request {at}"
        assert sorted(allocations(next_one)) == [
            ("10.0.0.1", "default/go-1"),
            ("10.0.0.2", "default/go-2"),
            ("10.0.0.3", "default/pod-10"),
            ("10.0.1.44", "default/go-300"),
        ]
        if not reached:
            break
    assert at > 8


@pytest.mark.parametrize("name", PASSING)
def test_an_adoption_waits_out_what_passes(
    server: ApiDouble, open_store: Callable[[], KubernetesStore], name: str
) -> None:
    for at in itertools.count():
        server.objects.clear()
        store = open_store()
        put_pool_of_go(server, store)
        server.asked.clear()
        server.fault = only(at, PASSING[name])
        assert add(store, demand("10.0.0.0/22"), pod(9)) == ["10.0.0.3"]
        reached = len(server.asked) > at
        server.fault = lambda _: None
        assert sorted(allocations(store)) == [
            ("10.0.0.1", "default/go-1"),
            ("10.0.0.2", "default/go-2"),
            ("10.0.0.3", "default/pod-9"),
            ("10.0.1.44", "default/go-300"),
        ]
        assert store.clashes == []
        if not reached:
            break
    assert at > 8


# ------------------------------------------------------------------ one by one


def test_a_write_whose_answer_was_lost_is_unsettled_only_if_it_may_have_been_done(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    server.fault = only(0, Fault(0, after=True))
    with pytest.raises(Unsettled):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    stored = store.read_block(KEY, Deadline(SOON), fresh=True)
    assert stored is not None
    assert stored.trusted() == block_with(KEY, 1)
    server.fault = only(0, Fault(0))
    store.write_block(KEY, stored, block_with(KEY, 1, 2), Deadline(SOON))


def test_a_write_that_is_refused_after_an_answer_was_lost_is_unsettled(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    faults = iter([Fault(0, after=True), Fault(403)])
    server.fault = lambda _: next(faults, None)
    with pytest.raises(Unsettled, match="403"):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    assert store.read_block(KEY, Deadline(SOON), fresh=True) is not None


def test_an_api_server_that_is_away_is_unavailable_after_some_patience(
    tmp_path: Path, opened: Callable[..., KubernetesStore]
) -> None:
    store = opened(kubeconfig(tmp_path / "k", "http://127.0.0.1:1", "ns"), patience=0.2)
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1 cannot be reached"):
        store.read_block(KEY, Deadline(SOON))
    with pytest.raises(Unavailable):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))


def test_the_deadline_of_the_call_bounds_every_wait(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    server.fault = lambda _: Fault(429, retry_after="30")
    with pytest.raises(DeadlineExceeded, match="429"):
        store.read_block(KEY, Deadline(0.2))
    server.fault = lambda _: Fault(504, after=True, seconds=0.5)
    with pytest.raises((Unsettled, DeadlineExceeded)):
        store.write_block(KEY, None, block_with(KEY, 1), Deadline(0.2))


def test_retry_after_is_kept_to(server: ApiDouble, open_store: Callable[[], KubernetesStore]) -> None:
    waits: list[float] = []
    deadline = Deadline(SOON, sleep=waits.append)
    server.fault = only(0, Fault(429, retry_after="3"))
    open_store().read_block(KEY, deadline)
    assert len(waits) == 1
    assert 3.0 <= waits[0] <= 4.5


def test_a_token_that_was_rotated_is_read_again(
    server: ApiDouble, tmp_path: Path, opened: Callable[..., KubernetesStore]
) -> None:
    server.token = "old"
    path = tmp_path / "kubeconfig"
    store = opened(kubeconfig(path, server.server, "ns", "old"))
    assert store.read_block(KEY, Deadline(SOON)) is None
    server.token = "new"
    kubeconfig(path, server.server, "ns", "new")
    assert store.read_block(KEY, Deadline(SOON)) is None
    server.token = "never told"
    with pytest.raises(Unavailable, match="401"):
        store.read_block(KEY, Deadline(SOON))


def test_a_list_whose_pages_expire_begins_again(
    server: ApiDouble, open_store: Callable[[], KubernetesStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from whereabouts.stores import kube_resources

    monkeypatch.setattr(kube_resources, "PAGE", {True: 2, False: 2})
    store = open_store()
    for n in range(7):
        add(store, demand(f"10.{n}.0.0/24"), pod(n))
    expired = itertools.count()

    def compact_once(asked: Asked) -> None:
        if "continue" in asked.query and next(expired) == 1:
            server.compact()

    server.fault = compact_once
    assert [str(stored.key.cidr) for stored in store.blocks(Deadline(SOON))] == [
        f"10.{n}.0.0/24" for n in range(7)
    ]
    assert next(expired) > 2


def test_a_cluster_without_the_custom_resources_is_told_apart(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    server.kinds.clear()
    with pytest.raises(StoreError, match="apply the custom resource definitions in deploy/crds"):
        add(open_store(), BOTH, pod(1))


def test_a_damaged_block_is_kept_as_it_is(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    add(store, BOTH, pod(1))
    ((_, _, name),) = [key for key in server.objects if key[2] == "10.0.0.0"]
    (content,) = [content for key, content in server.objects.items() if key[2] == name]
    content["metadata"]["annotations"]["whereabouts.cni.cncf.io/allocated"] = "g1:AAAA"
    content["metadata"]["resourceVersion"] = "7"
    before = dict(content["metadata"])
    assert add(store, BOTH, pod(2)) == ["10.0.1.1", "fd00::2"]
    assert content["metadata"] == before
    with pytest.raises(WhereaboutsError, match=r"block 10\.0\.0\.0"):
        delete(store, BOTH, pod(1))


def test_what_others_wrote_into_an_object_stays(
    server: ApiDouble, open_store: Callable[[], KubernetesStore]
) -> None:
    store = open_store()
    add(store, BOTH, pod(1))
    patch = {"metadata": {"annotations": {"example.com/note": "mine"}, "labels": {"team": "blue"}}}
    path = resources(store.resources.namespace, "addressblocks", "10.0.0.0")
    assert server.call("PATCH", path, patch, "application/merge-patch+json").status == 200
    add(store, BOTH, pod(2))
    (content,) = [content for key, content in server.objects.items() if key[2] == "10.0.0.0"]
    assert content["metadata"]["annotations"]["example.com/note"] == "mine"
    assert content["metadata"]["labels"]["team"] == "blue"
    assert "managedFields" not in content["metadata"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no YAML|holds no mapping"),
        ("[]", "holds no mapping"),
        ('{"current-context": "x"}', "namespace not present in context"),
        (
            '{"current-context": "x", "contexts": [{"name": "x", "context": {"cluster": "c"}}]}',
            "'c' is not among",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(AccessError, match=f"{path}.*({said})"):
        from_kubeconfig(str(path))()


def test_the_installers_kubeconfig_is_read(tmp_path: Path) -> None:
    from whereabouts.install.credentials import Credentials
    from whereabouts.install.kubeconfig import kubeconfig_text

    path = tmp_path / "kubeconfig"
    path.write_text(kubeconfig_text("https://10.0.0.1:443", "cni", Credentials(token="t0k", authority=None)))
    access = from_kubeconfig(str(path))()
    assert access[:3] == ("https://10.0.0.1:443", "cni", "Bearer t0k")
    assert not access.verify


def test_a_pods_own_credentials_are_read(tmp_path: Path) -> None:
    for name, text in {"token": "abc\n", "ca.crt": "", "namespace": "here"}.items():
        (tmp_path / name).write_text(text)
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    access = from_pod(str(tmp_path), environment)()
    assert access[:3] == ("https://[fd00::1]:443", "here", "Bearer abc")
    with pytest.raises(AccessError, match="runs in no pod"):
        from_pod(str(tmp_path), {})()


def test_a_conflict_is_a_conflict(server: ApiDouble, open_store: Callable[[], KubernetesStore]) -> None:
    one, two = open_store(), open_store()
    one.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
    with pytest.raises(Conflict):
        two.write_block(KEY, None, block_with(KEY, 2), Deadline(SOON))


def test_a_kept_connection_is_used_again_whatever_the_number_of_its_descriptor(
    server: ApiDouble, tmp_path: Path
) -> None:
    high = 1500
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= high + 100:
        pytest.skip("this process may not have so many descriptors")
    namespace = server.namespace()
    request = Request("GET", resources(namespace, "addressblocks"))
    api = kube_api.ApiClient(from_kubeconfig(kubeconfig(tmp_path / "k", server.server, namespace)))
    api.fetch(request, Deadline(SOON))
    (kept,) = api._idle
    with kept.sock as low:
        kept.sock = socket.socket(fileno=fcntl.fcntl(low.fileno(), fcntl.F_DUPFD_CLOEXEC, high))
    api.fetch(request, Deadline(SOON))
    assert api._idle == [kept]
    assert kept.sock.fileno() >= high, "it was not opened again"
    api.close()


def test_an_answer_in_drops_takes_no_longer_than_an_attempt_may(
    server: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_api, "ATTEMPT", 1.0)
    namespace = server.namespace()
    with fault_proxy(server.server, "", tmp_path) as proxy:
        path = kubeconfig(tmp_path / "kubeconfig", proxy.server, namespace, authority=proxy.authority)
        api = kube_api.ApiClient(from_kubeconfig(path))
        proxy.rules = [Rule(TRICKLE, 1.0, seconds=6.0)]
        with pytest.raises((Unavailable, DeadlineExceeded)):
            api.fetch(Request("GET", resources(namespace, "addressblocks")), Deadline(3.0))
        assert proxy.counts[TRICKLE] > 1, "it is asked again, as after any answer that does not come"
        api.close()
