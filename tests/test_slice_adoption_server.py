"""Change-over of node slices from the Go plugin, over a real API server."""

import pytest

from .api_server import ApiServer, api_server
from .slice_adoption_contract import SliceAdoptionContract

pytestmark = pytest.mark.apiserver


@pytest.fixture
def server() -> ApiServer:
    return api_server()


class TestSliceAdoptionServer(SliceAdoptionContract):
    pass
