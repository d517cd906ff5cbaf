"""Thousands of histories in which all happens at once: no live address is freed, none of the dead stays.

``RECONCILE_SCHEDULES`` plays more of them, from the seed ``RECONCILE_SEED`` on. A failure names its seed:
``RECONCILE_SEED=<seed> RECONCILE_SCHEDULES=1`` plays that one again.
"""

import os
from collections import Counter
from collections.abc import Mapping
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import settings

from whereabouts import reconcile
from whereabouts.addresses import Address
from whereabouts.audit import Tally
from whereabouts.block import BlockKey
from whereabouts.changes import Allocation
from whereabouts.deadline import Deadline
from whereabouts.liveness import (
    GONE_SECONDS,
    NODE_GONE,
    NODE_OUT_OF_SERVICE,
    NOT_REPORTED,
    POD_FINISHED,
    POD_GONE,
    Suspicion,
    judge,
)
from whereabouts.owners import Owner
from whereabouts.reconcile import Reconciler
from whereabouts.suspects import Suspect

from .reconcile_world import Violation, World

FIRST = int(os.environ.get("RECONCILE_SEED", "0"))
QUICK = int(os.environ.get("RECONCILE_SCHEDULES", "4000"))
MANY = 100_000 if settings.get_current_profile_name() == "long" else 30_000
ENOUGH = 20_000
"""Schedules within which each mutation has to be caught; the first ones that do are below 500."""


def play(seeds: range, reconciler: type[Reconciler] = Reconciler) -> Counter[str]:
    """Why records were freed, how often."""
    freed: Counter[str] = Counter()
    for seed in seeds:
        world = World(seed, reconciler)
        try:
            world.play()
        except Violation as violation:
            pytest.fail(f"seed {seed}: {violation}", pytrace=False)
        freed.update(world.freed)
    return freed


def test_no_schedule_frees_a_live_address_gives_one_twice_or_leaves_one_of_the_dead() -> None:
    freed = play(range(FIRST, FIRST + QUICK))
    if QUICK >= 1000:
        assert freed.keys() == {POD_GONE, POD_FINISHED, NODE_GONE, NODE_OUT_OF_SERVICE, NOT_REPORTED}


@pytest.mark.slow
def test_tens_of_thousands_of_schedules_free_no_live_address_and_leave_none_of_the_dead() -> None:
    play(range(QUICK, QUICK + MANY))


def test_a_schedule_is_the_same_each_time() -> None:
    for seed in range(20):
        worlds = World(seed), World(seed)
        for world in worlds:
            world.play()
        one, other = worlds
        assert (one.now, one.revision, one.freed) == (other.now, other.revision, other.freed)


# ---- what the schedules are worth: each safeguard taken out is noticed ----


class _AnyRecordOf(dict[Allocation, str]):
    """The addresses that were judged, whoever holds them now."""

    def __contains__(self, record: object) -> bool:
        assert isinstance(record, tuple)
        return record[0] in {address for address, _ in self}

    def __missing__(self, record: tuple[Address, Owner]) -> str:
        return "its address was judged"


class WithoutRecordCondition(Reconciler):
    """Frees the addresses that were judged, whatever became of their records since."""

    def _free(self, key: BlockKey, dead: Mapping[Allocation, str], deadline: Deadline, tally: Tally) -> None:
        super()._free(key, _AnyRecordOf(dead), deadline, tally)


class WithoutLiveRead(Reconciler):
    """Believes lists and events."""

    def _confirmed(
        self, key: BlockKey, suspects: Mapping[int, Suspect], deadline: Deadline, tally: Tally
    ) -> dict[Allocation, str]:
        return {
            (key.address(offset), suspect.owner): suspect.suspicion.reason
            for offset, suspect in suspects.items()
        }


def first_live_address_freed_by(reconciler: type[Reconciler]) -> int | None:
    for seed in islice(count(FIRST), ENOUGH):
        try:
            World(seed, reconciler).play()
        except Violation as violation:
            if "freed" in str(violation):
                return seed
    return None


def test_mutation_without_the_second_observation_a_schedule_frees_a_live_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def at_first_sight(*known: Any) -> Suspicion | None:
        suspicion = judge(*known)
        return suspicion and suspicion._replace(seconds=0.0)

    monkeypatch.setattr(reconcile, "judge", at_first_sight)
    assert first_live_address_freed_by(Reconciler) is not None


def test_mutation_without_the_condition_on_the_record_a_schedule_frees_a_live_address() -> None:
    assert first_live_address_freed_by(WithoutRecordCondition) is not None


def test_mutation_without_the_live_read_a_schedule_frees_a_live_address() -> None:
    assert first_live_address_freed_by(WithoutLiveRead) is not None


def test_mutation_where_evicted_pods_count_as_dead_a_schedule_frees_a_live_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = Suspicion(POD_GONE, GONE_SECONDS)
    monkeypatch.setattr(
        reconcile,
        "judge",
        lambda address, owner, pod, nodes: (
            gone if pod is not None and pod.disrupted else judge(address, owner, pod, nodes)
        ),
    )
    assert first_live_address_freed_by(Reconciler) is not None


def test_mutation_where_pods_are_known_by_name_only_a_schedule_leaves_an_address_of_the_dead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        reconcile,
        "judge",
        lambda address, owner, pod, nodes: judge(address, owner._replace(pod_uid=""), pod, nodes),
    )
    with pytest.raises(pytest.fail.Exception, match="are left"):
        play(range(ENOUGH))
