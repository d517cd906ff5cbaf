"""Change-over from the Go plugin, over the double."""

from collections.abc import Iterator

import pytest

from .adoption_contract import AdoptionContract
from .api_double import ApiDouble, api_double


@pytest.fixture
def server() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


class TestAdoption(AdoptionContract):
    pass
