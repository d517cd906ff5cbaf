"""Change-over of node slices from the Go plugin, over the double."""

from collections.abc import Iterator

import pytest

from .api_double import ApiDouble, api_double
from .slice_adoption_contract import SliceAdoptionContract


@pytest.fixture
def server() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


class TestSliceAdoption(SliceAdoptionContract):
    pass
