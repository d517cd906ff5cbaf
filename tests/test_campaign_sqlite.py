"""Faults strike agents on the embedded store, while another process of pytest plays another world."""

from pathlib import Path

from .short_campaigns import play_campaign


def test_nothing_is_lost_or_given_twice_whatever_strikes(tmp_path: Path) -> None:
    play_campaign("sqlite", tmp_path)
