"""Node slices in the embedded store."""

from collections.abc import Callable
from pathlib import Path

import pytest

from whereabouts.deadline import Deadline
from whereabouts.stores.sqlite import SqliteStore

from .slices_contract import SlicesContract
from .store_contract import SOON


class TestSlices(SlicesContract):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> Callable[[], SqliteStore]:
        return lambda: SqliteStore(str(tmp_path / "whereabouts.db"), Deadline(SOON))
