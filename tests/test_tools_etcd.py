"""The commands that look and repair, on etcd, and what only it can have wrong."""

import json
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="grpcio is not installed (pip install 'whereabouts-ipam[etcd]')")

from tests.etcd_server import EtcdServer, cluster
from tests.store_contract import add, pod
from tests.tools_contract import WIDE, Tools, ToolsContract, quickly
from whereabouts.block import BlockKey, Space
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.etcd_keys import Keys, block_name

pytestmark = pytest.mark.etcd

_numbers = count()


class EtcdTools(Tools):
    """With the server behind it, and the keys of this test."""

    server: EtcdServer
    keys: Keys

    def found(self) -> list[tuple[str, str, str]]:
        run = self.run("check", "-o", "json")
        return [(one["kind"], one["place"], one["address"]) for one in run.json()["findings"]]


@pytest.fixture(scope="module")
def server() -> Iterator[EtcdServer]:
    with cluster() as (one,):
        yield one


@pytest.fixture
def tools(
    quickly: None, server: EtcdServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[EtcdTools]:
    prefix = f"/tools-{next(_numbers)}/"
    conf = tmp_path / "whereabouts.conf"
    conf.write_text(json.dumps({"etcd_host": server.host, "etcd_prefix": prefix}))
    made = EtcdTools(["--config", str(conf)], lambda: EtcdStore(server.host, prefix=prefix), tmp_path, capsys)
    made.server, made.keys = server, Keys(prefix)
    yield made
    made.store.close()


__all__ = ["quickly"]  # a fixture


class TestTools(ToolsContract):
    pass


KEY = BlockKey.of(Space(), ip_address("10.0.0.0"))


def test_what_is_derived_from_blocks_is_compared_with_them(tools: EtcdTools) -> None:
    for number in range(3):
        add(tools.store, WIDE, pod(number))
    assert tools.found() == []
    bitmap = tools.keys.bitmaps() + block_name(KEY)
    stored = tools.server.get(bitmap)
    tools.server.delete(bitmap)
    assert tools.found() == [("stray-bitmap", "10.0.0.0", "")]
    add(tools.store, WIDE, pod(7))
    assert tools.found() == []
    tools.server.put(bitmap, stored)
    assert tools.found() == [("stray-bitmap", "10.0.0.0", "")]
    add(tools.store, WIDE, pod(8))
    tools.server.delete(tools.keys.attachment(pod(1).container_id, "net1") + block_name(KEY))
    assert tools.found() == [("index", "10.0.0.0", "10.0.0.2")]


def test_keys_that_name_no_block_and_values_of_other_blocks_are_found(tools: EtcdTools) -> None:
    add(tools.store, WIDE, pod(1))
    stray = tools.keys.blocks() + b"nonsense"
    tools.server.put(stray, b"")
    other = BlockKey.of(Space(), ip_address("10.0.5.0"))
    tools.server.put(tools.keys.block(other), tools.server.get(tools.keys.block(KEY)))
    assert tools.found() == [("damaged-block", "10.0.5.0", ""), ("misnamed-block", stray.decode(), "")]
