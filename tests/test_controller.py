"""The controller process on the double and on a real API server: what it frees, how soon, what it keeps."""

import itertools
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from whereabouts.cluster.lease import DURATION

from .cluster_objects import (
    delete_node,
    delete_pod,
    events,
    set_pod_status,
)
from .cluster_servers import Server
from .controller_process import Controller, running, until
from .live_cluster import RANGE, SOON, Cluster, Given

FREED_WITHIN = 30.0
"""Seconds; far below the ten minutes after which an audit would free them, and enough on a busy machine."""


@pytest.fixture
def cluster(server: Server, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(server, tmp_path)
    yield cluster
    cluster.store.close()


@pytest.fixture
def controller(cluster: Cluster) -> Iterator[Controller]:
    """One that learns by events: its first audit finds an empty cluster, and the next is far away."""
    with running(
        cluster.kubeconfig, "--namespace", cluster.namespace, "--audit-interval", "600"
    ) as controller:
        until(lambda: controller.metric("whereabouts_controller_audits_total"), SOON)
        yield controller


def test_addresses_of_pods_that_were_deleted_by_force_are_freed_within_seconds(
    cluster: Cluster, controller: Controller
) -> None:
    node = cluster.node()
    first, second, third = (cluster.pod(name, node) for name in ("a", "b", "c"))
    until(lambda: controller.metric("whereabouts_controller_watched_pods") >= 3, SOON)
    delete_pod(cluster.server, cluster.namespace, "b")
    until(lambda: second.address not in cluster.held(), FREED_WITHIN, lambda: "\n".join(controller.lines))
    assert cluster.held().keys() == {first.address, third.address}
    until(lambda: events(cluster.server, cluster.namespace), SOON)
    (told,) = events(cluster.server, cluster.namespace)
    assert told["reason"] == "IPAddressGarbageCollected"
    assert told["message"] == f"successful cleanup of IP address [{second.address}] from network blue"
    assert told["involvedObject"]["name"] == "b"
    until(lambda: controller.metric("whereabouts_controller_events_total", outcome="posted"), SOON)


def test_addresses_of_pods_on_a_node_that_was_deleted_are_freed_within_seconds(
    cluster: Cluster, controller: Controller
) -> None:
    gone, stays = cluster.node(), cluster.node()
    dead = [cluster.pod(name, gone) for name in ("a", "b")]
    live = cluster.pod("c", stays)
    until(lambda: controller.metric("whereabouts_controller_watched_nodes") >= 2, SOON)
    delete_node(cluster.server, gone)
    until(
        lambda: not {one.address for one in dead} & cluster.held().keys(),
        FREED_WITHIN,
        lambda: "\n".join(controller.lines),
    )
    assert cluster.held().keys() == {live.address}


def test_a_pod_made_anew_under_its_name_on_another_node_keeps_its_address_whatever_comes_late(
    cluster: Cluster, controller: Controller
) -> None:
    old_node, new_node = cluster.node(), cluster.node()
    old = cluster.pod("db-0", old_node)
    delete_pod(cluster.server, cluster.namespace, "db-0")
    new = cluster.pod("db-0", new_node)
    cluster.delete(old)
    assert cluster.held() == {new.address: new.attachment.container_id}
    other = cluster.pod("other", old_node)
    delete_pod(cluster.server, cluster.namespace, "other")
    until(lambda: other.address not in cluster.held(), FREED_WITHIN)
    assert cluster.held() == {new.address: new.attachment.container_id}


def test_a_completed_pod_gives_its_address_back_and_a_pending_one_keeps_it(
    cluster: Cluster, controller: Controller
) -> None:
    node = cluster.node()
    pending = cluster.pod("pending", node, phase="Pending", reported=False)
    done = cluster.pod("done", node)
    until(lambda: controller.metric("whereabouts_controller_watched_pods") >= 2, SOON)
    set_pod_status(cluster.server, cluster.namespace, "done", phase="Succeeded")
    until(lambda: done.address not in cluster.held(), 2 * FREED_WITHIN)
    assert cluster.held().keys() == {pending.address}


def test_without_any_event_two_audits_free_what_dead_pods_left(cluster: Cluster) -> None:
    """What the controller did not see happen: the pods were gone before it began to look."""
    node = cluster.node()
    live = cluster.pod("live", node)
    dead = [cluster.add(name, node, "") for name in ("x", "y")]
    options = "--namespace", cluster.namespace, "--audit-interval", "6"
    with running(cluster.kubeconfig, *options) as controller:
        until(lambda: not {one.address for one in dead} & cluster.held().keys(), SOON)
        assert controller.metric("whereabouts_controller_audits_total") <= 2
    assert cluster.held().keys() == {live.address}


def test_a_controller_that_is_killed_is_followed_by_another_that_finishes_its_work(cluster: Cluster) -> None:
    node = cluster.node()
    live = cluster.pod("live", node)
    options = "--namespace", cluster.namespace, "--audit-interval", "6"
    with running(cluster.kubeconfig, *options) as controller:
        dead = [cluster.pod(f"dead-{number}", node) for number in range(5)]
        for one in dead:
            delete_pod(cluster.server, cluster.namespace, one.pod)
        controller.stop(signal.SIGKILL)
        assert cluster.held().keys() == {live.address, *(one.address for one in dead)}
        controller.start()
        until(lambda: cluster.held().keys() == {live.address}, SOON, lambda: "\n".join(controller.lines))
        assert controller.stop() == 0


@pytest.mark.slow
def test_a_controller_that_is_killed_again_and_again_frees_all_that_is_dead_and_nothing_else(
    cluster: Cluster,
) -> None:
    chance = random.Random(20)
    nodes = [cluster.node() for _ in range(3)]
    live: dict[str, Given] = {}
    names = itertools.count()
    with running(cluster.kubeconfig, "--namespace", cluster.namespace, "--audit-interval", "3") as controller:
        for _ in range(2):
            end = time.monotonic() + chance.uniform(3, 8)
            while time.monotonic() < end:
                name = (
                    f"pod-{next(names)}" if len(live) < 5 or chance.random() < 0.5 else chance.choice([*live])
                )
                if name in live:  # made anew under its name: its old address is nobody's
                    delete_pod(cluster.server, cluster.namespace, name)
                    del live[name]
                if chance.random() < 0.7:
                    live[name] = cluster.pod(name, chance.choice(nodes))
                held = cluster.held()
                for given in live.values():
                    assert held.get(given.address) == given.attachment.container_id, controller.lines[-20:]
            controller.stop(signal.SIGKILL)
            controller.start()
        expected = {given.address: given.attachment.container_id for given in live.values()}
        until(lambda: cluster.held() == expected, SOON, lambda: "\n".join(controller.lines[-40:]))


def test_a_controller_that_is_told_to_stop_gives_its_lease_back_at_once(cluster: Cluster) -> None:
    with running(cluster.kubeconfig, "--namespace", cluster.namespace) as first:
        assert first.stop() == 0
        begun = time.monotonic()
        with running(cluster.kubeconfig, "--namespace", cluster.namespace) as second:
            assert time.monotonic() - begun < DURATION
            until(lambda: second.metric("whereabouts_controller_leading"), SOON)


def test_after_an_audit_it_tells_how_full_the_ranges_are(cluster: Cluster) -> None:
    node = cluster.node()
    for name in ("a", "b", "c"):
        cluster.pod(name, node)
    with running(cluster.kubeconfig, "--namespace", cluster.namespace) as controller:
        labels = {"datastore": "kubernetes", "range": RANGE}
        until(lambda: controller.metric("whereabouts_range_used_addresses", **labels), SOON)
        assert controller.metric("whereabouts_range_used_addresses", **labels) == 3
        assert controller.metric("whereabouts_range_capacity_addresses", **labels) == 65279
        assert controller.metric("whereabouts_range_free_addresses", **labels) == 65276
        assert controller.metric("whereabouts_controller_audit_interval_seconds") == 60
