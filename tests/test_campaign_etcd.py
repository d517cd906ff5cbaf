"""Faults strike agents on etcd, while another process of pytest plays another world."""

from pathlib import Path

import pytest

from .short_campaigns import play_campaign


@pytest.mark.etcd
def test_nothing_is_lost_or_given_twice_whatever_strikes(tmp_path: Path) -> None:
    play_campaign("etcd", tmp_path)
