"""What the controller exports for alerts, and when it stops telling it."""

import time
from ipaddress import ip_address

from whereabouts.audit import Audit
from whereabouts.block import BlockKey, Space
from whereabouts.controller.metrics import Metrics
from whereabouts.controller.slicing import Sliced
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.usage import RangeUse

USE = RangeUse(Pool(PoolKey("", "10.0.0.0/24"), True), 254, 3, 1, 0, None)
KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))
OWNER = Owner("", "", "conflict: a", "net1", "n", "macvlan", "10.0.0.0/24", 0)
CLEAN = Audit(blocks=1, records=5, freed=2, suspects=0, waiting_for_operator=0, failures=())
PREFIX = "whereabouts_controller_"


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(PREFIX + name, labels)


def test_an_audit_tells_what_it_found() -> None:
    metrics = Metrics()
    found = CLEAN._replace(
        waiting_for_operator=7,
        failures=("block x: checksum",),
        damaged=(KEY,),
        conflicts=((KEY, (ip_address("10.0.0.1"), OWNER)),),
    )
    metrics.audited(found, 0.3)
    assert value(metrics, "allocations") == 3
    assert value(metrics, "addresses_waiting_for_operator") == 7
    assert value(metrics, "damaged_blocks") == 1
    assert value(metrics, "conflicting_addresses") == 1
    assert value(metrics, "audit_duration_seconds_sum") == 0.3


def test_only_an_audit_that_judged_all_that_can_be_read_sets_the_time_of_the_last() -> None:
    metrics = Metrics()
    metrics.audited(CLEAN._replace(failures=("the list of blocks was cut short",)), 1)
    assert value(metrics, "last_audit_timestamp_seconds") == 0
    assert value(metrics, "audits_total", result="partial") == 1
    before = time.time()
    metrics.audited(CLEAN._replace(failures=("block x: checksum",), damaged=(KEY,)), 1)
    told = value(metrics, "last_audit_timestamp_seconds")
    assert told is not None
    assert before <= told <= time.time()
    assert value(metrics, "audits_total", result="whole") == 1


def test_the_oldest_suspect_is_told_by_the_time_of_its_first_observation() -> None:
    metrics = Metrics()
    before = time.time()
    metrics.looked(CLEAN._replace(suspects=2), 100.0)
    since = value(metrics, "oldest_suspect_timestamp_seconds")
    assert since is not None
    assert before - 100 <= since <= time.time() - 100
    metrics.looked(CLEAN, None)
    assert value(metrics, "oldest_suspect_timestamp_seconds") == 0
    assert value(metrics, "suspect_addresses") == 0


def test_ranges_are_those_that_were_told_last() -> None:
    metrics = Metrics()
    blue = RangeUse(Pool(PoolKey("blue", "fd00::/64"), True), 2**64 - 1, 1, 1, 0, None)
    metrics.ranges([USE, blue])
    metrics.ranges([blue])
    labels = {"datastore": "kubernetes", "network": "blue", "range": "fd00::/64"}
    read = metrics.registry.get_sample_value
    assert read("whereabouts_range_capacity_addresses", labels) == 2**64 - 1
    assert read("whereabouts_range_used_addresses", labels) == 1
    assert read("whereabouts_range_free_addresses", labels) == 2**64 - 2
    assert read("whereabouts_range_used_addresses", {**labels, "network": "", "range": "10.0.0.0/24"}) is None


def test_who_leads_no_more_tells_nothing_that_only_a_leader_knows() -> None:
    metrics = Metrics()
    fresh = {family.name: len(family.samples) for family in metrics.registry.collect()}
    pool = SlicePool("p", "10.0.0.0/24", "/26", (Slice("10.0.0.0/26", "n"), Slice("10.0.0.64/26")))
    metrics.sliced(Sliced([pool], {"p": ["m"]}, {"ns/definition": "bad"}, [], {}))
    metrics.ranges([USE])
    metrics.watched_pods.set_function(lambda: 5)
    metrics.watched_nodes.set_function(lambda: 5)
    metrics.looked(CLEAN._replace(suspects=2), 100.0)
    conflict = (KEY, (ip_address("10.0.0.1"), OWNER))
    metrics.audited(CLEAN._replace(waiting_for_operator=1, conflicts=(conflict,)), 1)
    metrics.audited(CLEAN._replace(failures=("x",), damaged=(KEY,)), 1)
    metrics.freed.labels("its pod is gone").inc()
    metrics.forget()
    gauges = [family for family in metrics.registry.collect() if family.type == "gauge"]
    assert {family.name: len(family.samples) for family in gauges}.items() <= fresh.items()
    assert [sample for family in gauges for sample in family.samples if sample.value] == []
    assert value(metrics, "addresses_freed_total", reason="its pod is gone") == 1  # counters only grow


def test_counters_stand_at_zero_before_they_first_count() -> None:
    metrics = Metrics()
    for result in ("whole", "partial"):
        assert value(metrics, "audits_total", result=result) == 0
    for outcome in ("posted", "dropped", "failed"):
        assert value(metrics, "events_total", outcome=outcome) == 0
    assert value(metrics, "addresses_freed_total", reason="its pod runs without this address") == 0
