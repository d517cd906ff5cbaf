"""Change-over from the Go plugin, over a real API server."""

import pytest

from .adoption_contract import AdoptionContract
from .api_server import ApiServer, api_server

pytestmark = pytest.mark.apiserver


@pytest.fixture
def server() -> ApiServer:
    return api_server()


class TestAdoptionServer(AdoptionContract):
    pass
