"""Who is judged dead, rule by rule, and what is kept because too little is known."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.addresses import Address
from whereabouts.liveness import (
    CONFLICT,
    GONE_SECONDS,
    LAGGING_SECONDS,
    NODE_GONE,
    NODE_OUT_OF_SERVICE,
    NOT_REPORTED,
    POD_FINISHED,
    POD_GONE,
    Node,
    Pod,
    Suspicion,
    judge,
    names_a_pod,
    nodes_asked_for,
    waits_for_operator,
)
from whereabouts.owners import Owner

Addresses = frozenset[Address]
ADDRESS = ip_address("10.0.0.5")
OTHER = ip_address("10.0.0.6")
UID = "6f6d3f2e-4d2e-4c7e-9a57-0c8f7a5f1b01"
OTHER_UID = "6f6d3f2e-4d2e-4c7e-9a57-0c8f7a5f1b02"
STATIC_UID = "9f86d081884c7d659a2feaa0c55ad015"
NODES = {
    node.name: node
    for node in (
        Node("ready", ready=True, out_of_service=False),
        Node("second", ready=True, out_of_service=False),
        Node("unheard", ready=False, out_of_service=False),
        Node("off", ready=False, out_of_service=True),
    )
}
OWNER = Owner("ns/web-0", UID, "c1", "net1", "ready", "macvlan", "10.0.0.0/24", 1_700_000_000)
POD = Pod(
    "ns/web-0", (UID,), "ready", "Running", deleting=False, disrupted=False, addresses=frozenset({ADDRESS})
)
OF_GO_PLUGIN = OWNER._replace(pod_uid="", ifname="", node="")
STATIC = OWNER._replace(pod_ref="kube-system/proxy-ready", pod_uid=STATIC_UID)
MIRROR = POD._replace(ref="kube-system/proxy-ready", uids=(UID, STATIC_UID))


def verdict(owner: Owner = OWNER, pod: Pod | None = POD) -> Suspicion | None:
    return judge(ADDRESS, owner, pod, NODES)


def test_what_a_running_pod_reports_is_kept() -> None:
    assert verdict() is None


# ---- 1: records of which nothing in the cluster speaks ----


@pytest.mark.parametrize("ref", ["", "0123abcd", "/web-0", "ns/", "a/b/c", "/", "ns/web-0/net1"])
def test_a_record_without_a_pod_is_kept_whatever_is_known(ref: str) -> None:
    assert verdict(OWNER._replace(pod_ref=ref), None) is None
    assert verdict(OWNER._replace(pod_ref=ref), POD._replace(phase="Failed")) is None


def test_an_address_that_two_pods_were_given_is_kept_until_a_person_decides() -> None:
    claimed = OWNER._replace(container_id=CONFLICT + "ns/a net1 c1 and ns/b net1 c2")
    assert verdict(claimed, None) is None
    assert verdict(claimed._replace(pod_ref="", pod_uid="", ifname=""), None) is None


# ---- 2: no pod ----


@pytest.mark.parametrize("owner", [OWNER, OWNER._replace(pod_uid=""), OF_GO_PLUGIN])
def test_a_record_without_its_pod_is_freed_soon(owner: Owner) -> None:
    assert verdict(owner, None) == Suspicion(POD_GONE, GONE_SECONDS)


@pytest.mark.parametrize("node", ["unheard", "off", "vanished"])
def test_a_pod_deleted_by_force_is_gone_whatever_its_node_says(node: str) -> None:
    assert verdict(OWNER._replace(node=node), None) == Suspicion(POD_GONE, GONE_SECONDS)


@pytest.mark.parametrize(
    "owner",
    [
        STATIC,
        STATIC._replace(pod_ref="ns/renamed"),
        STATIC._replace(pod_uid=""),
        STATIC._replace(pod_uid=UID),
        STATIC._replace(node="NODE-BY-ANOTHER-NAME"),
    ],
    ids=["both", "by its UID", "by its name, no UID", "by its name", "node by another name"],
)
def test_what_may_be_a_static_pod_without_its_mirror_has_time_to_get_a_new_one(owner: Owner) -> None:
    assert verdict(owner, None) == Suspicion(POD_GONE, LAGGING_SECONDS)


def test_a_static_pod_without_its_mirror_is_kept_while_nobody_could_make_one() -> None:
    assert verdict(STATIC._replace(node="unheard"), None) is None


def test_a_static_pod_of_a_node_that_is_off_is_gone() -> None:
    assert verdict(STATIC._replace(node="off"), None) == Suspicion(POD_GONE, GONE_SECONDS)


# ---- 3: pods that have come to their end ----


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("addresses", [None, frozenset(), frozenset({ADDRESS})])
def test_completed_evicted_and_shut_down_pods_hold_nothing_whatever_they_report(
    phase: str, addresses: Addresses | None
) -> None:
    pod = POD._replace(phase=phase, addresses=addresses)
    assert verdict(pod=pod) == Suspicion(POD_FINISHED, GONE_SECONDS)
    assert verdict(OF_GO_PLUGIN, pod) == Suspicion(POD_FINISHED, GONE_SECONDS)


def test_a_pod_that_failed_on_a_node_that_is_not_heard_of_holds_nothing() -> None:
    pod = POD._replace(phase="Failed", node="unheard")
    assert verdict(pod=pod) == Suspicion(POD_FINISHED, GONE_SECONDS)


def test_a_static_pod_that_ended_has_time_to_begin_anew_after_a_reboot() -> None:
    assert verdict(STATIC, MIRROR._replace(phase="Failed")) == Suspicion(POD_FINISHED, LAGGING_SECONDS)


def test_a_static_pod_that_ended_is_kept_while_its_node_is_not_heard_of() -> None:
    assert verdict(STATIC, MIRROR._replace(phase="Failed", node="unheard")) is None


# ---- 4, 5: nodes that are gone ----


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_pods_of_a_node_that_is_gone_are_gone(phase: str) -> None:
    pod = POD._replace(node="vanished", phase=phase)
    assert verdict(pod=pod) == Suspicion(NODE_GONE, GONE_SECONDS, "vanished")
    assert verdict(OF_GO_PLUGIN, pod) == Suspicion(NODE_GONE, GONE_SECONDS, "vanished")


def test_pods_of_a_node_that_somebody_declared_off_are_gone() -> None:
    assert verdict(pod=POD._replace(node="off")) == Suspicion(NODE_OUT_OF_SERVICE, GONE_SECONDS, "off")


def test_a_node_counts_by_what_the_pod_says_not_by_what_the_record_calls_it() -> None:
    assert verdict(OWNER._replace(node="ready.example.org")) is None
    assert verdict(OWNER._replace(node="")) is None


@pytest.mark.parametrize("disrupted", [False, True])
@pytest.mark.parametrize("addresses", [None, frozenset(), frozenset({OTHER}), frozenset({ADDRESS})])
def test_evicted_pods_of_a_node_that_is_not_heard_of_may_run_and_are_kept(
    disrupted: bool, addresses: Addresses | None
) -> None:
    pod = POD._replace(node="unheard", deleting=True, disrupted=disrupted, addresses=addresses)
    assert verdict(pod=pod) is None
    assert verdict(OF_GO_PLUGIN, pod) is None


def test_what_only_an_operator_can_tell_is_told_apart() -> None:
    evicted = POD._replace(node="unheard", deleting=True, disrupted=True)
    assert waits_for_operator(evicted, NODES)
    assert waits_for_operator(evicted._replace(deleting=False), NODES)
    assert waits_for_operator(evicted._replace(disrupted=False), NODES)
    assert not waits_for_operator(evicted._replace(deleting=False, disrupted=False), NODES)
    assert not waits_for_operator(evicted._replace(node="ready"), NODES)
    assert not waits_for_operator(evicted._replace(node="off"), NODES)
    assert not waits_for_operator(evicted._replace(node="vanished"), NODES)
    assert not waits_for_operator(evicted._replace(phase="Failed"), NODES)
    assert not waits_for_operator(None, NODES)


# ---- 6: what a pod of that name reports ----


@pytest.mark.parametrize("uid", [UID, OTHER_UID, ""])
@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
def test_what_a_living_pod_of_that_name_reports_is_kept_whatever_the_record_says(
    uid: str, phase: str
) -> None:
    owner = OWNER._replace(pod_uid=uid, node="second")
    assert verdict(owner, POD._replace(phase=phase)) is None


def test_addresses_of_the_default_network_count_like_all_others() -> None:
    assert verdict(pod=POD._replace(addresses=frozenset({OTHER, ADDRESS}))) is None


@pytest.mark.parametrize(
    ("recorded", "reported"),
    [("fd00::5", "fd00:0:0:0:0:0:0:5"), ("fd00::ab", "FD00::AB"), ("fd00::a00:5", "fd00::10.0.0.5")],
)
def test_addresses_are_compared_as_addresses(recorded: str, reported: str) -> None:
    pod = POD._replace(addresses=frozenset({ip_address(reported)}))
    assert judge(ip_address(recorded), OWNER, pod, NODES) is None


# ---- 7: UIDs ----


@pytest.mark.parametrize("phase", ["Pending", "Running", "Unknown"])
@pytest.mark.parametrize("node", ["ready", "second", ""])
@pytest.mark.parametrize("addresses", [None, frozenset(), frozenset({OTHER})])
def test_a_pod_made_anew_under_the_same_name_is_another_pod(
    phase: str, node: str, addresses: Addresses | None
) -> None:
    anew = POD._replace(uids=(OTHER_UID,), phase=phase, node=node, addresses=addresses)
    assert verdict(pod=anew) == Suspicion(POD_GONE, GONE_SECONDS)


def test_a_static_pod_is_known_by_the_uid_that_its_mirror_has_in_annotations() -> None:
    assert verdict(STATIC, MIRROR._replace(addresses=None)) is None
    assert verdict(STATIC, MIRROR._replace(uids=(OTHER_UID, STATIC_UID), addresses=None)) is None
    assert verdict(STATIC, MIRROR._replace(uids=(OTHER_UID,), addresses=None)) == Suspicion(
        POD_GONE, GONE_SECONDS
    )


# ---- 8, 9: records without a UID ----


@pytest.mark.parametrize("owner", [OWNER._replace(pod_uid=""), OF_GO_PLUGIN])
def test_a_record_without_uid_is_not_of_a_pod_that_was_never_on_a_node(owner: Owner) -> None:
    waiting = POD._replace(node="", phase="Pending", addresses=None)
    assert verdict(owner, waiting) == Suspicion(POD_GONE, GONE_SECONDS)


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_a_record_without_uid_from_another_node_is_of_an_earlier_pod(phase: str) -> None:
    owner = OWNER._replace(pod_uid="", node="second")
    pod = POD._replace(phase=phase, addresses=frozenset({OTHER}))
    assert verdict(owner, pod) == Suspicion(POD_GONE, GONE_SECONDS)


def test_a_record_without_uid_from_another_node_is_kept_until_the_pod_reports_something() -> None:
    assert verdict(OWNER._replace(pod_uid="", node="second"), POD._replace(addresses=None)) is None


def test_a_node_name_that_no_node_has_proves_nothing() -> None:
    owner = OWNER._replace(pod_uid="", node="short-name")
    pending = POD._replace(phase="Pending", addresses=frozenset({OTHER}))
    assert verdict(owner, pending) is None


# ---- 10: what a pod does not report ----


@pytest.mark.parametrize("owner", [OWNER, OF_GO_PLUGIN, OWNER._replace(pod_uid="")])
@pytest.mark.parametrize("addresses", [frozenset(), frozenset({OTHER})])
def test_what_a_running_pod_does_not_report_is_freed_only_after_the_time_that_reporting_may_take(
    owner: Owner, addresses: Addresses
) -> None:
    pod = POD._replace(addresses=addresses)
    assert verdict(owner, pod) == Suspicion(NOT_REPORTED, LAGGING_SECONDS)
    assert LAGGING_SECONDS > 240


@pytest.mark.parametrize("owner", [OWNER, OF_GO_PLUGIN, OWNER._replace(pod_uid="")])
@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_pods_whose_annotation_is_missing_or_cannot_be_read_are_kept(owner: Owner, phase: str) -> None:
    assert verdict(owner, POD._replace(addresses=None, phase=phase)) is None


@pytest.mark.parametrize("phase", ["Pending", "Unknown", ""])
def test_pods_that_do_not_run_yet_are_not_robbed(phase: str) -> None:
    assert verdict(pod=POD._replace(phase=phase, addresses=frozenset({OTHER}))) is None


def test_pods_that_are_being_deleted_are_kept_although_they_report_nothing_any_more() -> None:
    assert verdict(pod=POD._replace(deleting=True, addresses=frozenset())) is None


def test_pods_whose_node_cannot_report_are_kept() -> None:
    assert verdict(pod=POD._replace(node="unheard", addresses=frozenset())) is None


# ---- all together ----

owners = st.builds(
    Owner,
    pod_ref=st.sampled_from(["ns/web-0", "kube-system/proxy-ready", "0123abcd", ""]),
    pod_uid=st.sampled_from(["", UID, OTHER_UID, STATIC_UID]),
    container_id=st.sampled_from(["c1", CONFLICT + "both"]),
    ifname=st.sampled_from(["", "net1"]),
    node=st.sampled_from(["", "vanished", *NODES]),
    network=st.just("macvlan"),
    range=st.just("10.0.0.0/24"),
    created=st.integers(0, 2**32 - 1),
)
pods = st.builds(
    Pod,
    ref=st.just("ns/web-0"),
    uids=st.sampled_from([(UID,), (OTHER_UID,), (OTHER_UID, STATIC_UID)]),
    node=st.sampled_from(["", "vanished", *NODES]),
    phase=st.sampled_from(["", "Pending", "Running", "Unknown", "Succeeded", "Failed"]),
    deleting=st.booleans(),
    disrupted=st.booleans(),
    addresses=st.none() | st.frozensets(st.sampled_from([ADDRESS, OTHER])),
)


@given(owners, st.none() | pods)
def test_only_the_nodes_that_are_named_decide(owner: Owner, pod: Pod | None) -> None:
    asked = nodes_asked_for(owner, pod)
    known = {name: node for name, node in NODES.items() if name in asked}
    assert judge(ADDRESS, owner, pod, known) == judge(ADDRESS, owner, pod, NODES)


@given(owners, pods)
def test_a_pod_that_may_live_under_its_own_uid_loses_only_what_it_does_not_report(
    owner: Owner, pod: Pod
) -> None:
    node = NODES.get(pod.node)
    may_live = pod.phase not in ("Succeeded", "Failed") and node is not None and not node.out_of_service
    if may_live and owner.pod_uid in pod.uids:
        suspicion = judge(ADDRESS, owner, pod, NODES)
        assert suspicion is None or (
            suspicion == Suspicion(NOT_REPORTED, LAGGING_SECONDS)
            and pod.addresses is not None
            and ADDRESS not in pod.addresses
        )


@given(owners, st.none() | pods)
def test_who_made_a_record_and_when_decides_nothing(owner: Owner, pod: Pod | None) -> None:
    assert judge(ADDRESS, owner, pod, NODES) == judge(ADDRESS, owner._replace(created=0), pod, NODES)


@given(owners, st.none() | pods)
def test_what_names_no_pod_is_never_suspected(owner: Owner, pod: Pod | None) -> None:
    if not names_a_pod(owner):
        assert judge(ADDRESS, owner, pod, NODES) is None
