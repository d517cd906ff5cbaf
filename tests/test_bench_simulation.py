"""The model of many agents: what it plays is what agents do."""

from typing import Any

import pytest

from bench.simulation import ROOM, Costs, Outcome, Shape, simulate

COSTS = Costs([0.001], [0.003], [0.002])


def play(agents: int, calls: int, seed: int = 0, **shape: Any) -> Outcome:
    return simulate(Shape(agents, calls, COSTS, 2, 0.002)._replace(**shape), seed)


def lowest(number: int) -> list[tuple[int, int, int]]:
    return [(0, *divmod(one, ROOM)) for one in range(number)]


@pytest.mark.parametrize(("agents", "calls"), [(1, 1), (1, 600), (20, 1), (7, 90), (40, 20)])
def test_every_call_gets_one_of_the_lowest_addresses(agents: int, calls: int) -> None:
    outcome = play(agents, calls)
    assert sorted(outcome.given) == lowest(agents * calls)
    assert outcome.calls == len(outcome.latencies) == agents * calls
    assert outcome.failed == 0


def test_equal_seeds_have_equal_outcomes_and_others_have_others() -> None:
    assert play(20, 3, seed=1) == play(20, 3, seed=1)
    assert play(20, 3, seed=1).latencies != play(20, 3, seed=2).latencies


def test_the_calls_of_an_agent_that_knows_the_block_are_one_write() -> None:
    outcome = play(1, 100, sliced=True)
    assert outcome.requests == {"write": 2}  # the first to come does not wait for the others
    assert outcome.percentile(100) == pytest.approx(2 * (0.002 + 0.003))


def test_who_knows_an_old_block_writes_reads_and_writes() -> None:
    assert play(2, 1).requests == {"conflict": 1, "read": 1, "write": 2}


def test_of_agents_that_write_one_block_all_but_one_come_too_late() -> None:
    outcome = play(30, 1)
    assert outcome.requests["write"] == 30
    assert outcome.requests["conflict"] >= 29
    assert outcome.requests["read"] == outcome.requests["conflict"]


def test_nobody_conflicts_over_a_slice_of_his_own() -> None:
    outcome = play(30, 5, sliced=True)
    assert outcome.requests["conflict"] == 0
    assert {range_ for range_, _, _ in outcome.given} == set(range(1, 31))
    assert all(which < 5 for _, _, which in outcome.given)


def test_a_block_that_is_full_is_called_so_once() -> None:
    outcome = play(1, ROOM + 2, sliced=True)
    assert sorted(outcome.given) == [(1, *divmod(one, ROOM)) for one in range(ROOM + 2)]
    # Of the first call and those behind it, of the pool, and of the first and the second in the next block.
    assert outcome.requests["write"] == 5


def test_calls_that_have_no_time_fail_and_have_no_address() -> None:
    outcome = play(200, 1, deadline=0.5)
    assert outcome.failed > 100
    assert len(outcome.given) == len(outcome.latencies) == 200 - outcome.failed
    assert outcome.percentile(100) <= 0.6


def test_requests_that_are_turned_away_come_back_a_second_later() -> None:
    outcome = play(50, 1, waiting=3)
    assert outcome.failed == 0
    assert outcome.requests["turned away"] > 0
    assert outcome.percentile(100) > 1.0


def test_requests_that_wait_too_long_are_given_up_and_sent_again() -> None:
    slow = Costs([0.5], [0.5], [0.5])
    outcome = simulate(Shape(40, 1, slow, 1, 0.0))
    assert outcome.requests["given up"] > 0
    assert sorted(outcome.given) == lowest(40)[: len(outcome.given)]


def test_calls_come_over_the_time_that_is_told() -> None:
    outcome = play(10, 6, during=30.0)
    assert 20.0 < outcome.seconds < 31.0
    assert sorted(outcome.given) == lowest(60)


def test_agents_on_the_servers_machine_take_its_cores() -> None:
    assert play(1, 1, of_a_call=1.0).percentile(50) > 1.0 > play(1, 1).percentile(50)
