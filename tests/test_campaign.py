"""What a campaign of faults tells and keeps, and how its faults are drawn."""

from importlib import import_module
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from .campaign.__main__ import main
from .campaign.fault import Fault
from .campaign.process_faults import AgentKilled, AgentStopped, AgentStoppedLong
from .campaign.schedule import draw


def test_what_is_found_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A world that lost its records in the meantime."""
    sqlite = import_module(".campaign.sqlite_world", __package__)

    class Forgetful(sqlite.SqliteWorld):  # type: ignore[misc, name-defined]
        def records(self) -> object:
            return list(super().records())[1:]

    place = tmp_path / "found"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite, "SqliteWorld", Forgetful)
        options = ["--world", "sqlite", "--minutes", "0.03", "--seed", "7", "--fault", "agent killed"]
        assert main([*options, "--evidence", str(place)]) == 1
    assert "lost: " in capsys.readouterr().out
    (kept,) = place.iterdir()
    assert kept.name == "sqlite-7-1"
    assert {path.name for path in kept.iterdir()} >= {"journal.jsonl", "found", "node-a.log"}


def test_a_round_is_drawn_alike_for_the_same_seed_and_no_fault_overlaps_itself() -> None:
    faults: list[Fault] = [AgentKilled([]), AgentStopped([]), AgentStoppedLong([])]
    for seed in range(20):
        strokes = draw(faults, 30.0, 20.0, Random(seed))
        assert strokes == draw(faults, 30.0, 20.0, Random(seed))
        assert strokes
        for fault in faults:
            own = [stroke for stroke in strokes if stroke.fault is fault]
            assert all(one.ends <= other.begins for one, other in pairwise(own))
        assert all(stroke.ends - stroke.begins <= 20.0 for stroke in strokes)
