"""A short campaign of faults in one world; ``make faults`` runs long ones."""

import json
from datetime import datetime
from importlib import import_module
from pathlib import Path

from hypothesis import settings

from .campaign.__main__ import main
from .campaign.rounds import Rounds
from .campaign.world import World

SEED = "1"
"""Each run plays the same faults, so that one that fails can be played again, and all take about as long."""
LONGEST = "15"
"""Seconds that a fault may hold: longer ones would make a minute three."""
ENOUGH = 100
"""ADDs without which hardly anything was tried."""


def play_campaign(name: str, folder: Path) -> None:
    """Play some seconds of the world, or a minute of it where the tests may take their time."""
    if settings.get_current_profile_name() == "default":
        _two_rounds(name)
    else:
        _a_minute(name, folder)


def _two_rounds(name: str) -> None:
    world: World = import_module(f".campaign.{name}_world", __package__).open_world()
    try:
        rounds = Rounds(world, int(SEED), world.faults())
        for _ in range(2):
            assert not rounds.run(seconds=2.0, longest=1.0)
        assert rounds.tally.faults
        assert rounds.tally.adds > ENOUGH
    finally:
        world.close()


def _a_minute(name: str, folder: Path) -> None:
    options = ["--world", name, "--minutes", "1", "--seed", SEED, "--longest", LONGEST]
    assert main([*options, "--evidence", str(folder / "found"), "--json", str(folder)]) == 0
    result = json.loads((folder / f"{name}.json").read_text())
    assert result["world"] == name
    assert datetime.fromisoformat(result["date"]).tzinfo
    assert result["commit"]
    assert result["violations"] == 0
    assert sum(result["faults"].values()) > 0
    assert result["adds"] > ENOUGH
    assert result["slowest_seconds"] < result["deadline_seconds"]
