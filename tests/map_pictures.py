"""The pictures of ``whereabouts map`` in docs/images, by the command: ``python -m tests.map_pictures``."""

import json
import random
import sqlite3
import sys
from contextlib import closing, redirect_stdout
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.store_contract import SOON, pod
from whereabouts.block import BLOCK_SIZE, Block, BlockKey
from whereabouts.cli import main
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores.sqlite import SqliteStore

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SMALL, LARGE = PoolKey("", "10.0.0.0/22"), PoolKey("storage", "10.64.0.0/14")
FIRST = int(ip_address("10.0.0.0"))


def draw(folder: Path) -> dict[str, Path]:
    """Make a store in ``folder`` and draw its two ranges; the files, by name."""
    database, dice = folder / "whereabouts.db", random.Random(7)
    with closing(SqliteStore(str(database), Deadline(SOON))) as store:
        for key in (SMALL, LARGE):
            store.create_pool(Pool(key, shared=True), Deadline(SOON))
        for index in range(3):
            _fill(store, SMALL, FIRST + BLOCK_SIZE * index, range(1, (250, 200, 90)[index]), dice)
        for index in range(200):
            base = int(ip_address("10.64.0.0")) + BLOCK_SIZE * index
            _fill(store, LARGE, base, range(max(3, 255 - dice.randrange(index + 2))), dice)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE blocks SET owners = x'00' WHERE name = 'storage.10.64.77.0'")
        connection.commit()
    report, netconf = folder / "report.json", folder / "net.conf"
    report.write_text(json.dumps(_report(f"local:{database}")))
    netconf.write_text(json.dumps(_configuration()))
    for key, name, *options in (
        (SMALL, "map-addresses.svg", "--netconf", str(netconf), "--report", str(report)),
        (LARGE, "map-blocks.svg", "--network", LARGE.network_name),
    ):
        with redirect_stdout(StringIO()):
            assert (
                main(["map", key.range, "--local", str(database), "--svg", str(folder / name), *options]) == 0
            )
    return {name: folder / name for name in ("map-addresses.svg", "map-blocks.svg")}


def _fill(store: SqliteStore, key: PoolKey, base: int, offsets: range, dice: random.Random) -> None:
    """Use three of four of these offsets."""
    block = BlockKey(Pool(key, shared=True).space, 4, base)
    owners = {at: pod(base + at)._replace(range=key.range) for at in offsets if dice.randrange(4)}
    if base == FIRST + BLOCK_SIZE:
        owners[9] = pod(9)._replace(range=key.range, container_id="conflict: default/a, default/b")
    store.write_block(block, None, Block(block, owners), Deadline(SOON))


def _configuration() -> dict[str, object]:
    excluded = ["10.0.0.240/28", "10.0.3.128/25", "10.0.1.62/31"]
    ipam = {"type": "whereabouts", "range": SMALL.range, "exclude": excluded}
    return {"cniVersion": "1.0.0", "name": "pods", "type": "macvlan", "ipam": ipam}


def _report(store: str) -> dict[str, object]:
    """A report that has something against a few addresses."""
    leaks = [str(ip_address(FIRST + at)) for at in (70, 71, 131, 300, 301, 302)]
    findings = [{"kind": "leak", "address": text, "network_name": "", "release": None} for text in leaks]
    return {"version": 1, "store": store, "findings": findings}


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        for drawn, path in draw(Path(made)).items():
            (IMAGES / drawn).write_bytes(path.read_bytes())
            sys.stdout.write(f"{IMAGES / drawn}\n")
