"""The memory between two observations."""

from ipaddress import ip_address

import pytest

from whereabouts import suspects as module
from whereabouts.block import BlockKey, Space
from whereabouts.liveness import (
    GONE_SECONDS,
    LAGGING_SECONDS,
    NODE_GONE,
    NOT_REPORTED,
    POD_FINISHED,
    POD_GONE,
    Suspicion,
)
from whereabouts.owners import Owner
from whereabouts.suspects import AT_ONCE, Suspects

KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))
NEXT = BlockKey.of(Space(), ip_address("10.0.1.0"))
OWNER = Owner("ns/a", "u", "c1", "net1", "n", "macvlan", "10.0.0.0/16", 0)
GONE = Suspicion(POD_GONE, GONE_SECONDS)
FINISHED = Suspicion(POD_FINISHED, GONE_SECONDS)
UNREPORTED = Suspicion(NOT_REPORTED, LAGGING_SECONDS)


def test_an_observation_that_says_the_same_of_the_same_record_counts_from_the_first() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, GONE, 100.0)
    assert suspects.observe(KEY, 1, OWNER, GONE, 103.0).due == 100.0 + GONE_SECONDS
    assert len(suspects) == 1


@pytest.mark.parametrize(
    "record", [OWNER._replace(container_id="c2"), OWNER._replace(pod_uid="v"), OWNER._replace(created=1)]
)
def test_another_record_is_observed_anew(record: Owner) -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, GONE, 100.0)
    assert suspects.observe(KEY, 1, record, GONE, 103.0).due == 103.0 + GONE_SECONDS


@pytest.mark.parametrize("before", [UNREPORTED, Suspicion(NODE_GONE, GONE_SECONDS)])
def test_another_reason_is_observed_anew(before: Suspicion) -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, before, 100.0)
    assert suspects.observe(KEY, 1, OWNER, GONE, 103.0).due == 103.0 + GONE_SECONDS


def test_a_pod_that_ended_and_is_gone_later_was_dead_all_the_time() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, FINISHED, 100.0)
    assert suspects.observe(KEY, 1, OWNER, GONE, 103.0).due == 100.0 + GONE_SECONDS


def test_a_static_pod_that_ended_and_whose_mirror_is_gone_is_observed_anew() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, FINISHED._replace(seconds=LAGGING_SECONDS), 100.0, live=True)
    later = suspects.observe(KEY, 1, OWNER, GONE._replace(seconds=LAGGING_SECONDS), 103.0, live=True)
    assert later.due == 103.0 + LAGGING_SECONDS


def test_where_time_is_the_evidence_it_begins_with_a_pod_that_was_read_alone() -> None:
    suspects = Suspects()
    assert suspects.observe(KEY, 1, OWNER, UNREPORTED, 100.0).due == AT_ONCE
    assert suspects.observe(KEY, 1, OWNER, UNREPORTED, 160.0).due == AT_ONCE
    assert suspects.observe(KEY, 1, OWNER, UNREPORTED, 161.0, live=True).due == 161.0 + LAGGING_SECONDS
    assert suspects.observe(KEY, 1, OWNER, UNREPORTED, 200.0).due == 161.0 + LAGGING_SECONDS
    assert suspects.observe(KEY, 1, OWNER, UNREPORTED, 300.0, live=True).due == 161.0 + LAGGING_SECONDS


def test_another_node_that_is_gone_is_another_reason() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, Suspicion(NODE_GONE, GONE_SECONDS, "n1"), 100.0)
    later = suspects.observe(KEY, 1, OWNER, Suspicion(NODE_GONE, GONE_SECONDS, "n2"), 103.0)
    assert later.due == 103.0 + GONE_SECONDS


def test_those_that_are_due_come_by_block_the_longest_waiting_first() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, GONE, 101.0)
    suspects.observe(NEXT, 2, OWNER, GONE, 100.0)
    suspects.observe(NEXT, 3, OWNER, UNREPORTED, 100.0, live=True)
    assert suspects.next_due() == 105.0
    assert suspects.due(104.9) == []
    assert [(key, list(ready)) for key, ready in suspects.due(106.0)] == [(NEXT, [2]), (KEY, [1])]


def test_those_that_are_cleared_or_of_blocks_that_are_no_more_are_forgotten() -> None:
    suspects = Suspects()
    for key in (KEY, NEXT):
        for offset in (1, 2, 3):
            suspects.observe(key, offset, OWNER, GONE, 100.0)
    suspects.clear(KEY, 1)
    suspects.clear(KEY, 1)
    suspects.keep_only(KEY, {2, 7})
    assert len(suspects) == 4
    suspects.forget_blocks_but({KEY})
    assert [(key, list(ready)) for key, ready in suspects.due(200.0)] == [(KEY, [2])]
    suspects.clear(KEY, 2)
    assert (len(suspects), suspects.next_due()) == (0, None)


def test_what_is_postponed_is_not_due_but_was_observed() -> None:
    suspects = Suspects()
    suspects.observe(KEY, 1, OWNER, GONE, 100.0)
    suspects.postpone(KEY, 1, 200.0)
    assert suspects.due(199.0) == []
    assert suspects.observe(KEY, 1, OWNER, GONE, 200.0).since == 100.0


def test_memory_is_bounded_and_those_beyond_are_observed_when_others_are_settled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_SUSPECTS", 2)
    suspects = Suspects()
    for offset in range(4):
        suspects.observe(KEY, offset, OWNER, GONE, 100.0)
    assert len(suspects) == 2
    suspects.clear(KEY, 0)
    suspects.observe(KEY, 3, OWNER, GONE, 101.0)
    assert [list(ready) for _, ready in suspects.due(200.0)] == [[1, 3]]
