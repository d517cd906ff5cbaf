"""``whereabouts map``: the picture of a range, in characters and in files."""

import fcntl
import io
import json
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Sequence
from contextlib import closing
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.block import Block, BlockKey
from whereabouts.cells import Cell, Gap, Row, State, Window
from whereabouts.cli import main
from whereabouts.commands.map_shapes import COLOURS
from whereabouts.commands.map_svg import as_svg
from whereabouts.commands.map_text import Look, Picture, columns_for, draw
from whereabouts.deadline import Deadline
from whereabouts.owners import Owner
from whereabouts.pool import Pool, PoolKey
from whereabouts.store import Store, StoreError
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore

from .api_double import api_double
from .api_server import kubeconfig
from .cni_calls import CONSOLE
from .map_pictures import IMAGES
from .map_pictures import draw as draw_pictures
from .store_contract import SOON, pod

GOLDEN = Path(__file__).parent / "golden"
Shown = Callable[..., list[str]]


def record(store: Store, key: PoolKey, owners: dict[str, Owner], *, shared: bool = True) -> None:
    """Make a pool with these holders of addresses."""
    pool = Pool(key, shared)
    store.create_pool(pool, Deadline(SOON))
    blocks: dict[BlockKey, dict[int, Owner]] = {}
    for text, owner in owners.items():
        block = BlockKey.of(pool.space, ip_address(text))
        blocks.setdefault(block, {})[block.offset(ip_address(text))] = owner._replace(range=key.range)
    for block, content in blocks.items():
        store.write_block(block, None, Block(block, content), Deadline(SOON))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with closing(SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))) as store:
        yield store


@pytest.fixture
def shown(tmp_path: Path, store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> Shown:
    """The lines that the command prints."""

    def run(*arguments: str) -> list[str]:
        assert main(["map", "--local", str(tmp_path / "w.db"), *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.fixture
def netconf(tmp_path: Path) -> str:
    path = tmp_path / "net.conf"
    ipam = {"type": "whereabouts", "range": "10.0.0.0/24", "exclude": ["10.0.0.64/28", "10.0.0.255/32"]}
    path.write_text(json.dumps({"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "ipam": ipam}))
    return str(path)


def some_records() -> dict[str, Owner]:
    used = {f"10.0.0.{last}": pod(last) for last in [*range(1, 40), 70, 200]}
    return used | {"10.0.0.100": pod(100)._replace(container_id="conflict: default/a, default/b")}


def test_a_small_range_has_a_cell_for_every_address(store: SqliteStore, shown: Shown, netconf: str) -> None:
    record(store, PoolKey("", "10.0.0.0/24"), some_records())
    assert shown("10.0.0.0/24", "--netconf", netconf) == [
        "10.0.0.0/24: 42 used, 197 free",
        "           +0              +16             +32             +48",
        "10.0.0.0   ░███████████████████████████████████████························",
        "10.0.0.64  ░░░░░░+░░░░░░░░░····················!···························",
        "10.0.0.128 ································································",
        "10.0.0.192 ········█······················································░",
        "",
        "· free   █ used   ░ never given   + used, but never given   ! given twice",
        "a cell is one address",
    ]


def test_without_a_configuration_excludes_are_not_known_and_it_says_so(
    store: SqliteStore, shown: Shown
) -> None:
    record(store, PoolKey("blue", "10.0.0.0/28"), {"10.0.0.0": pod(0), "10.0.0.15": pod(1)})
    assert shown("10.0.0.0/28", "--network", "blue") == [
        "10.0.0.0/28 of network_name blue: 2 used, 14 free",
        "Not known: a configuration of the range (--netconf); what it excludes does not",
        "show.",
        "         +0",
        "10.0.0.0 █··············█",
        "",
        "· free   █ used   a cell is one address",
    ]


def test_a_large_range_has_a_cell_for_every_block_and_rows_without_records_are_left_out(
    store: SqliteStore, shown: Shown
) -> None:
    records = {f"10.{second}.{third}.7": pod(third) for second in (0, 3) for third in (0, 1, 130)}
    full = {f"10.3.2.{last}": pod(last) for last in range(256)}
    half = {f"10.3.3.{last}": pod(last) for last in range(128)}
    record(store, PoolKey("", "10.0.0.0/8"), records | full | half)
    assert shown("10.0.0.0/8") == [
        "10.0.0.0/8: 390 used, 16711291 free",
        "Only the parts with records are drawn.",
        "Not known: a configuration of the range (--netconf); what it excludes does not",
        "show.",
        "           +0              +16             +32             +48",
        "10.0.0.0   ▁▁······························································",
        "⋮ nothing recorded up to 10.0.127.255",
        "10.0.128.0 ··▁·····························································",
        "⋮ nothing recorded up to 10.2.255.255",
        "10.3.0.0   ▁▁█▄····························································",
        "⋮ nothing recorded up to 10.3.127.255",
        "10.3.128.0 ··▁·····························································",
        "⋮ nothing recorded up to 10.255.255.255",
        "",
        "· free   ▁..▇ █ partly and all used   a cell is one block of 256 addresses",
    ]


def test_a_huge_range_is_drawn_where_something_is_recorded(store: SqliteStore, shown: Shown) -> None:
    record(store, PoolKey("", "fd00::/8"), {"fd00::1": pod(1), "fdff::1": pod(2)})
    lines = shown("fd00::/8")
    assert lines[0] == f"fd00::/8: 2 used, {2**120 - 4} free"
    assert [line.partition(" ")[0] for line in lines[5:9]] == ["fd00::", "⋮", "fdff::", "⋮"]
    assert lines[6] == "⋮ nothing recorded up to fdfe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def test_a_part_of_a_range_can_be_drawn_in_the_space_of_the_range(store: SqliteStore, shown: Shown) -> None:
    record(store, PoolKey("", "10.0.0.0/8"), {"10.1.0.7": pod(1)})
    record(store, PoolKey("", "10.1.0.0/16"), {"10.1.0.8": pod(2)}, shared=False)
    lines = shown("10.1.0.0/28")
    assert lines[0].startswith("10.1.0.0/28, a part of 10.1.0.0/16: 1 used")
    assert "10.1.0.0 ░·······█·······" in lines
    assert "10.2.0.0/28, a part of 10.0.0.0/8: 0 used, 15 free" in shown("10.2.0.0/28")


def test_a_slice_of_a_node_is_drawn_as_a_part_of_its_range(store: SqliteStore, shown: Shown) -> None:
    whole = PoolKey("", "10.0.0.0/16")
    record(store, whole, {"10.0.4.7": pod(1)}, shared=False)
    store.create_pool(Pool(whole.of_slice("10.0.4.0/24", "node-1"), shared=False), Deadline(SOON))
    assert shown("10.0.4.0/24")[0] == "10.0.4.0/24, a part of 10.0.0.0/16: 1 used, 254 free"


def test_cells_can_be_chosen(store: SqliteStore, shown: Shown) -> None:
    record(store, PoolKey("", "10.0.0.0/20"), {"10.0.1.7": pod(1)})
    assert "10.0.0.0 ·▁··············" in shown("10.0.0.0/20", "--cells", "block")
    assert "10.0.1.0    ░······█························································" in shown(
        "10.0.0.0/20", "--cells", "address"
    )


def test_a_damaged_block_is_shown_as_that(store: SqliteStore, shown: Shown) -> None:
    record(store, PoolKey("", "10.0.0.0/23"), {"10.0.1.7": pod(1)})
    store._connection.execute("UPDATE blocks SET owners = x'00'")
    lines = shown("10.0.0.0/23")
    assert f"10.0.1.0   {'X' * 64}" in lines
    assert "X damaged" in lines[-1]
    assert "10.0.0.0 ·X" in shown("10.0.0.0/23", "--cells", "block")


def test_what_a_report_has_found_is_marked_in_its_space_only(
    store: SqliteStore, shown: Shown, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(address: str, kind: str = "leak", severity: str = "error", **more: object) -> dict[str, object]:
        finding = {
            "kind": kind,
            "severity": severity,
            "address": address,
            "network_name": "",
            "release": None,
        }
        return finding | more

    report = {
        "version": 1,
        "store": f"local:{tmp_path}/w.db",
        "findings": [
            found("10.0.0.1"),
            found("10.0.0.2", "conflict"),
            found("10.0.0.3", "suspect", "harmless"),
            found("10.0.0.4", network_name="blue"),
            found("10.0.0.5", release={"own_range": "10.0.0.0/24"}),
            found("10.0.0.6", "excluded", "warning"),
            found("10.0.0.9"),
            found("::a00:7"),
            found(""),
        ],
    }
    path = tmp_path / "report"
    path.write_text(json.dumps(report))
    record(store, PoolKey("", "10.0.0.0/28"), {f"10.0.0.{last}": pod(last) for last in range(1, 8)})
    lines = shown("10.0.0.0/28", "--report", str(path))
    assert "10.0.0.0 ░?!?████·······░" in lines
    assert "? suspect in the report" in lines[-2]
    path.write_text(json.dumps(report | {"store": "local:/elsewhere"}))
    arguments = ["map", "--local", str(tmp_path / "w.db"), "10.0.0.0/28", "--report", str(path)]
    assert main(arguments) == 1
    assert "report: it is about local:/elsewhere, and this is local:" in capsys.readouterr().err
    for text in ("", "[]", "{}", json.dumps(report | {"findings": [{}]})):
        path.write_text(text)
        assert main(arguments) == 1
        assert "report is no report of whereabouts check" in capsys.readouterr().err


def test_definitions_that_may_not_be_read_are_no_reason_not_to_draw(
    store: SqliteStore, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise StoreError("403 Forbidden")

    monkeypatch.setattr("whereabouts.commands.evidence.networks", forbidden)
    record(store, PoolKey("", "10.0.0.0/28"), {"10.0.0.1": pod(1)})
    lines = shown("10.0.0.0/28")
    assert "Not known: NetworkAttachmentDefinitions cannot be read (403 Forbidden)." in lines
    assert "10.0.0.0 ░█·············░" in lines


def test_a_range_that_is_not_there_is_refused_with_those_that_are(
    store: SqliteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(store, PoolKey("", "10.0.0.0/24"), {})
    assert main(["map", "--local", str(tmp_path / "w.db"), "10.0.0.0/23"]) == 1
    assert capsys.readouterr().err == (
        "whereabouts: no range of network_name '' has 10.0.0.0/23; its ranges are: 10.0.0.0/24\n"
    )


# ------------------------------------------------------------------- terminals


def in_terminal(columns: int, *arguments: str, **environment: str) -> list[str]:
    """What the command writes to a terminal of so many columns."""
    leader, follower = os.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8", **environment}
    with os.fdopen(leader, "rb", buffering=0) as screen:
        run = subprocess.Popen([str(CONSOLE), "map", *arguments], stdout=follower, stderr=follower, env=env)
        os.close(follower)
        text = b""
        try:
            while part := screen.read(4096):
                text += part
        except OSError:
            pass  # the other end is closed
        assert run.wait() == 0, text
    return text.decode().replace("\r\n", "\n").splitlines()


def test_a_terminal_gets_colours_unless_it_says_no(store: SqliteStore, tmp_path: Path) -> None:
    record(store, PoolKey("", "10.0.0.0/28"), {"10.0.0.1": pod(1)})
    arguments = ("--local", str(tmp_path / "w.db"), "10.0.0.0/28")
    row = "10.0.0.0 \x1b[90m░\x1b[0m\x1b[34m█\x1b[0m\x1b[32m·············\x1b[0m\x1b[90m░\x1b[0m"
    assert row in in_terminal(80, *arguments)
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "10.0.0.0 ░█·············░" in in_terminal(80, *arguments, **plain)
    assert row in in_terminal(80, *arguments, NO_COLOR="")


@pytest.mark.parametrize(("columns", "cells"), [(20, 8), (40, 16), (80, 64), (150, 128), (400, 128)])
def test_rows_fit_the_terminal(store: SqliteStore, tmp_path: Path, columns: int, cells: int) -> None:
    record(store, PoolKey("", "10.0.0.0/24"), {"10.0.0.1": pod(1)})
    arguments = ("--local", str(tmp_path / "w.db"), "10.0.0.0/24")
    lines = in_terminal(columns, *arguments, NO_COLOR="1")
    assert f"10.0.0.0{'':{len(str(256 - cells)) - 1}} ░█{'·' * (cells - 2)}" in lines
    assert max(map(len, lines)) <= max(columns, 25)


def test_where_the_output_cannot_take_other_characters_there_are_plain_ones(
    store: SqliteStore, tmp_path: Path
) -> None:
    record(store, PoolKey("", "10.0.0.0/28"), {"10.0.0.1": pod(1)})
    run = subprocess.run(
        [str(CONSOLE), "map", "--local", str(tmp_path / "w.db"), "10.0.0.0/28"],
        env={"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "10.0.0.0 -#.............-" in run.stdout.splitlines()


counts = st.lists(st.integers(0, 256), min_size=len(State), max_size=len(State)).filter(any)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    version = draw(st.sampled_from([4, 6]))
    top = 2 ** (32 if version == 4 else 128) - 2**20
    address = st.integers(0, top)
    columns = columns_for(80, version)
    row = st.builds(
        lambda first, cells: Row([Cell(first, tuple(cell)) for cell in cells]),
        address,
        st.lists(counts, min_size=1, max_size=columns),
    )
    gap = st.builds(lambda last: Gap(0, last, 1, 0), address)
    rows: Sequence[Row | Gap] = draw(st.lists(st.one_of(row, gap), max_size=4))
    headlines = draw(st.lists(st.text("ab ", max_size=200), min_size=1, max_size=2))
    return Picture(headlines, Window(version, 0, top, draw(st.sampled_from([1, 256])), columns), rows)


@given(pictures(), st.booleans())
def test_every_picture_fits_80_columns_and_its_legend_names_every_state(
    picture: Picture, unicode: bool
) -> None:
    plain = list(draw(picture, Look(80, unicode, colour=False)))
    assert max(map(len, plain)) <= 80
    coloured = draw(picture, Look(80, unicode, colour=True))
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in coloured] == plain
    legend = " ".join(plain[plain.index("", max(0, len(plain) - 6)) :])
    characters = Look(80, unicode, colour=False).characters
    for row in picture.rows:
        if isinstance(row, Row):
            assert all(characters[cell.state] in legend for cell in row.cells)


# ----------------------------------------------------------------------- files


def golden_picture(size: int) -> Picture:
    def cell(offset: int, **counts: int) -> Cell:
        first = int(ip_address("10.0.0.0")) + size * offset
        return Cell(first, tuple(counts.get(state.name.lower(), 0) for state in State))

    cells = [cell(number, **{state.name.lower(): size}) for number, state in enumerate(State)]
    if size > 1:
        cells += [cell(7, free=64, used=64, barred=128), cell(8, free=255, used=1)]
    first = int(ip_address("10.0.0.0"))
    gap = Gap(first + 9 * size, first + 16 * size - 1, 1, 0)
    window = Window(4, first, first + 16 * size - 1, size, 16)
    return Picture(["A <range> & its headline", "and a remark"], window, [Row(cells), gap])


@pytest.mark.parametrize(("name", "size"), [("map-addresses.svg", 1), ("map-blocks.svg", 256)])
def test_svg_is_as_it_was_looked_at(name: str, size: int) -> None:
    drawn = as_svg(golden_picture(size))
    assert drawn == (GOLDEN / name).read_text()
    ElementTree.fromstring(drawn)


def test_files_are_drawn_in_place_of_the_terminal(
    store: SqliteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image_module: Any = import_module("PIL.Image")
    record(store, PoolKey("", "10.0.0.0/28"), {"10.0.0.1": pod(1)})
    svg, png = tmp_path / "map.svg", tmp_path / "map.png"
    arguments = ["map", "--local", str(tmp_path / "w.db"), "10.0.0.0/28"]
    assert main([*arguments, "--svg", str(svg), "--png", str(png)]) == 0
    assert capsys.readouterr().out == ""
    root = ElementTree.fromstring(svg.read_text())
    boxes = [box for box in root.iter("{http://www.w3.org/2000/svg}rect") if len(box)]
    titles = [box[0].text for box in boxes]
    assert titles[:3] == ["10.0.0.0: never given", "10.0.0.1: used", "10.0.0.2: free"]
    image = image_module.open(io.BytesIO(png.read_bytes()))
    assert image.size == (2 * int(root.attrib["width"]), 2 * int(root.attrib["height"]))
    for box in boxes:
        middle = [
            round(2 * (float(box.attrib[at]) + float(box.attrib[size]) / 2))
            for at, size in (("x", "width"), ("y", "height"))
        ]
        assert "#{:02x}{:02x}{:02x}".format(*image.getpixel(middle)) == box.attrib["fill"]
    assert {box.attrib["fill"] for box in boxes} == {
        COLOURS[state] for state in (State.BARRED, State.USED, State.FREE)
    }


def test_without_pillow_it_says_what_to_install(
    store: SqliteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, PoolKey("", "10.0.0.0/28"), {})
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    png = tmp_path / "map.png"
    assert main(["map", "--local", str(tmp_path / "w.db"), "10.0.0.0/28", "--png", str(png)]) == 1
    assert "pip install 'whereabouts-ipam[png]'" in capsys.readouterr().err
    assert not png.exists()


def test_in_a_cluster_excludes_come_from_its_definitions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with api_double() as server:
        namespace = server.namespace()
        path = kubeconfig(tmp_path / "kubeconfig", server.server, namespace)
        with closing(KubernetesStore(from_kubeconfig(path))) as store:
            record(store, PoolKey("", "10.0.0.0/28"), {"10.0.0.1": pod(1), "10.0.0.5": pod(5)})
        ipam = {"type": "whereabouts", "range": "10.0.0.0/28", "exclude": ["10.0.0.4/30"]}
        config = {"cniVersion": "1.0.0", "type": "macvlan", "ipam": ipam}
        definitions = f"/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions"
        content = {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "pods", "namespace": namespace},
            "spec": {"config": json.dumps(config)},
        }
        assert server.call("POST", definitions, content).status == 201
        assert main(["map", "--kubeconfig", path, "10.0.0.0/28"]) == 0
        content["metadata"] = {"name": "broken", "namespace": namespace}
        content["spec"] = {"config": "{"}
        assert server.call("POST", definitions, content).status == 201
        assert main(["map", "--kubeconfig", path, "10.0.0.0/28"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "10.0.0.0 ░█··░+░░·······░" in lines
    assert "10.0.0.0 ░█··░█░░·······░" in lines  # the broken one may give it
    assert any(
        line.startswith(f"Not known: NetworkAttachmentDefinition {namespace}/broken") for line in lines
    )


@pytest.mark.parametrize("name", ["map-addresses.svg", "map-blocks.svg"])
def test_pictures_of_the_documents_are_what_the_command_draws(name: str, tmp_path: Path) -> None:
    assert (IMAGES / name).read_text() == draw_pictures(tmp_path)[name].read_text()
