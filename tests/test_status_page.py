"""The controller's status page: what it says, to whom, at what cost, and how it looks in a browser."""

import io
import json
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from html.parser import HTMLParser
from ipaddress import ip_address
from typing import Any, NamedTuple
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from whereabouts.audit import Audit
from whereabouts.block import Block, BlockKey
from whereabouts.cells import State
from whereabouts.controller import board as boards
from whereabouts.controller.board import Board
from whereabouts.controller.markup import element
from whereabouts.controller.page import POLICY, render
from whereabouts.controller.page_style import STYLE
from whereabouts.controller.slicing import Sliced
from whereabouts.controller.status_app import AT_ONCE, pages
from whereabouts.controller.status_facts import (
    MOST_OF_A_KIND,
    PROBLEMS,
    AuditRun,
    Example,
    Problem,
    Process,
    Status,
    View,
)
from whereabouts.controller.status_view import MOST_PICTURES, Configured, read_view
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.slices import Slice, SlicePool
from whereabouts.store import Unavailable
from whereabouts.usage import RangeUse

from .browser import Browser, Look, Seen, browser
from .cni_calls import CONSOLE
from .controller_process import Controller, running
from .memory_store import MemoryStore
from .status_cluster import DAMAGED, HOSTILE, SUSPECT, TWICE, Filled, filled
from .status_picture import IMAGES, NAME
from .store_contract import SOON, pod

LEADER = Process("a_1_ff", True, "a_1_ff")
UNCONFIGURED = Configured({}, known=False)
NO_AUDIT = Audit(0, 0, 0, 0, 0, ())


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.text = ""
        self.tables: dict[str, list[list[str]]] = {}
        self._pieces: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        if tag in ("caption", "th", "td"):
            self._pieces = []

    def handle_endtag(self, tag: str) -> None:
        text = "".join(self._pieces)
        if tag == "caption":
            self.tables[text] = self._rows
        elif tag in ("th", "td"):
            self._rows[-1].append(text)

    def handle_data(self, data: str) -> None:
        self.text += data
        self._pieces.append(data)


def rows_of(table: list[list[str]]) -> list[dict[str, str]]:
    """The rows of a table, each by its headings."""
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def addresses(store: MemoryStore, key: PoolKey, *texts: str) -> None:
    """A pool whose range has these addresses in use."""
    pool = Pool(key, shared=True)
    store.create_pool(pool, Deadline(SOON))
    blocks: dict[BlockKey, dict[int, Any]] = {}
    for number, text in enumerate(texts):
        block = BlockKey.of(pool.space, ip_address(text))
        owner = pod(number)._replace(range=key.range)
        blocks.setdefault(block, {})[block.offset(ip_address(text))] = owner
    for block, owners in blocks.items():
        before = store.read_block(block, Deadline(SOON))
        old = dict(before.trusted()) if before else {}
        store.write_block(block, before, Block(block, {**old, **owners}), Deadline(SOON))


# --------------------------------------------------------------------- escaping


@given(text=st.text())
def test_a_text_stays_a_text_wherever_it_stands(text: str) -> None:
    page = Page(element("p", text, title=text).encode())
    assert page.tags == [("p", ("title",))]
    assert page.text.isprintable()
    if text.isprintable():
        assert page.text == text


def everything(text: str, number: int) -> Status:
    """A status in which every text is this one, or has it in the middle."""
    key = PoolKey(text, "10.0.0.0/24")
    use = RangeUse(Pool(key, True), 254, number, 1, 0, {text: number})
    view = View(1e9, [use], {}, [Problem(kind, 1, (Example(text, text),)) for kind in PROBLEMS])
    runs = (AuditRun(1e9, 1.0, 1, number, 0, 0, 1, (f"a {text}",)),)
    pools = (SlicePool(text, text, text, (Slice(text, text),)),)
    return Status(view, f"view {text}", runs, pools, (Problem("bad-definition", 1, (Example(text, text),)),))


HOSTILE_TEXTS = st.one_of(
    st.sampled_from([HOSTILE, "</style><script>", "\"'>", "&lt;b&gt;", "\u202e\x1b[31m", "\ud800", "]]>"]),
    st.text(min_size=1),
)


@given(text=HOSTILE_TEXTS)
def test_no_text_of_the_cluster_makes_an_element_or_an_attribute(text: str) -> None:
    process = Process(text, True, text)
    assert Page(render(process, everything(text, 7))).tags == Page(render(LEADER, everything("x", 7))).tags


@given(text=HOSTILE_TEXTS)
def test_the_page_of_a_standby_escapes_the_name_of_the_leader(text: str) -> None:
    standby = Page(render(Process("b", False, text), Status()))
    assert standby.tags == Page(render(Process("b", False, "x"), Status())).tags


# ---------------------------------------------------------------- what it says


def test_the_picture_of_a_range_says_what_each_row_has() -> None:
    store = MemoryStore()
    addresses(store, PoolKey("", "10.0.0.0/24"), "10.0.0.1", "10.0.0.2", "10.0.0.33")
    content = render(LEADER, Status(read_view(store, UNCONFIGURED, [], Deadline(SOON))))
    said = re.findall(r"<title>([^<]*)</title><path", content.decode())
    assert said[:3] == ["29 free, 2 used, 1 never given", "31 free, 1 used", "32 free"]
    assert said[-1] == "31 free, 1 never given"
    assert "What single" not in content.decode()


def test_damaged_blocks_and_conflicts_are_problems_with_their_places() -> None:
    store = MemoryStore()
    addresses(store, PoolKey("", "10.0.0.0/16"), "10.0.0.1", "10.0.7.1")
    (first, second) = sorted(store.halves)
    stored = store.read_block(first, Deadline(SOON))
    assert stored is not None
    twice = pod(1)._replace(range="10.0.0.0/16", pod_ref="", container_id="conflict: a/a, b/b")
    store.write_block(first, stored, Block(first, {9: twice}), Deadline(SOON))
    store.halves[second] = (1, b"", b"")
    status = Status(read_view(store, UNCONFIGURED, [], Deadline(SOON)))
    found = {problem.kind: problem.shown for problem in status.problems}
    assert found.keys() == {"conflict", "damaged-block"}
    assert found["conflict"] == (Example("10.0.0.9", "by a/a, b/b"),)
    assert found["damaged-block"][0].place == "10.0.7.0/24"
    assert status.view is not None
    (picture,) = status.view.pictures.values()
    assert {State.CONFLICT, State.DAMAGED} <= set(picture.states)


def test_a_full_range_is_a_problem_and_its_bar_says_so_in_words() -> None:
    store = MemoryStore()
    addresses(store, PoolKey("", "10.0.0.0/30"), "10.0.0.1", "10.0.0.2")
    status = Status(read_view(store, UNCONFIGURED, [], Deadline(SOON)))
    assert [problem.kind for problem in status.problems] == ["full-range"]
    (row,) = rows_of(Page(render(LEADER, status)).tables["Addresses of each range"])
    assert (row["Use"], row["Free"]) == ("100 %, full", "0")


def test_where_nothing_is_wrong_it_says_so_but_not_before_it_has_looked() -> None:
    assert "None is known." in Page(render(LEADER, Status(View(1e9, [], {}, [])))).text
    assert "None is known." not in Page(render(LEADER, Status())).text


def test_pages_of_large_clusters_stay_small() -> None:
    store = MemoryStore()
    for number in range(MOST_PICTURES + 5):
        texts = [f"10.{number}.{block}.7" for block in range(0, 250, 5)]
        addresses(store, PoolKey("", f"10.{number}.0.0/16"), *texts)
    addresses(store, PoolKey("", "10.0.0.0/8"))
    addresses(store, PoolKey("", "2001:db8::/32"), *(f"2001:db8:{n:x}::1" for n in range(300)))
    view = read_view(store, UNCONFIGURED, [], Deadline(SOON))
    assert len(view.uses) == MOST_PICTURES + 7
    assert len(view.pictures) == MOST_PICTURES
    assert all(len(picture.rows) <= 2 * 64 + 1 for picture in view.pictures.values())
    many = [Problem(kind, 10**6, (Example("p", "m" * 400),) * MOST_OF_A_KIND) for kind in PROBLEMS]
    assert len(render(LEADER, Status(view._replace(problems=many)))) < 600_000


def test_of_a_range_with_too_many_rows_the_first_are_drawn() -> None:
    store = MemoryStore()
    addresses(store, PoolKey("", "2001:db8::/32"), *(f"2001:db8:{n:x}::1" for n in range(300)))
    view = read_view(store, UNCONFIGURED, [], Deadline(SOON))
    (picture,) = view.pictures.values()
    drawn = [row for row in picture.rows if hasattr(row, "cells")]
    assert len(drawn) == 64
    assert picture.rows[-1] is drawn[-1]
    assert "Only the first 64 rows" in picture.headlines[0]
    assert view.uses[0].used == 300


def test_an_audit_that_came_to_nothing_is_shown_with_its_reason() -> None:
    board = Board()
    board.audited(NO_AUDIT, 1.5)
    board.audit_failed(Unavailable("the API server is away"), 10.0)
    page = Page(render(LEADER, board.status()))
    assert [row["Failures"] for row in rows_of(page.tables["The last ones"])] == ["1", "0"]
    assert "the API server is away" in page.text


def test_definitions_and_nodes_without_slices_are_problems_until_the_next_pass() -> None:
    board = Board()
    board.sliced(Sliced([], {"blue": ["node-9"]}, {"ns/bad": "no CIDR"}, ["not written"], {}))
    kinds = {problem.kind for problem in board.status().problems}
    assert kinds == {"node-without-slice", "bad-definition", "failure"}
    board.sliced(Sliced([], {}, {}, [], {}))
    assert board.status().problems == ()


# ------------------------------------------------------------------ what it costs


class Counting(MemoryStore):
    """A store that counts how often all of it is read."""

    def __init__(self, begun: Callable[[], None]) -> None:
        super().__init__()
        self.reads = 0
        self._begun = begun

    def blocks(self, deadline: Deadline) -> Iterator[Any]:
        self.reads += 1
        self._begun()
        return super().blocks(deadline)


class Worker:
    """The controller's working thread, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = Counting(self._took)
        self.board = Board(clock=lambda: self.now)
        self.takes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Worker":
        self.board.begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.001):
            if self.board.due():
                self.board.look(self.store, [], Deadline(SOON))

    def _took(self) -> None:
        self.now += self.takes


def test_nobody_who_asks_makes_work_until_some_seconds_have_passed() -> None:
    with Worker() as worker:
        for _ in range(50):
            assert worker.board.status().view is not None
        assert worker.store.reads == 1
        worker.now += boards.FRESH_SECONDS
        for _ in range(50):
            worker.board.status()
        assert worker.store.reads == 2


def test_after_a_look_that_took_long_there_is_a_longer_rest() -> None:
    with Worker() as worker:
        worker.takes = 20.0
        worker.board.status()
        worker.now += boards.REST * 19.0
        worker.board.status()
        assert worker.store.reads == 1
        worker.now += boards.REST * 2.0
        worker.board.status()
        assert worker.store.reads == 2


def test_without_a_question_nothing_is_read() -> None:
    board = Board()
    board.begin()
    board.audited(NO_AUDIT, 1.0)
    assert not board.due()


def test_a_standby_neither_waits_nor_remembers() -> None:
    board = Board()
    board.begin()
    board.audited(NO_AUDIT, 1.0)
    board.end()
    assert board.status() == Status()
    assert not board.due()


def test_a_store_that_cannot_be_read_is_said_and_what_was_seen_stays() -> None:
    class Away(MemoryStore):
        away = False

        def pools(self, *arguments: Any, **options: Any) -> Any:
            if self.away:
                raise Unavailable("the store is away")
            return super().pools(*arguments, **options)

    store, board = Away(), Board()
    addresses(store, PoolKey("", "10.0.0.0/24"), "10.0.0.1")
    board.look(store, [], Deadline(SOON))
    store.away = True
    with pytest.raises(Unavailable):
        board.look(store, [], Deadline(SOON))
    page = Page(render(LEADER, board.status()))
    assert "the store is away" in page.text
    assert len(rows_of(page.tables["Addresses of each range"])) == 1


# ------------------------------------------------------------------------- HTTP


class Answer(NamedTuple):
    """What a page answered."""

    status: str
    headers: Mapping[str, str]
    body: bytes


class Holder:
    """Nobody but this process."""

    identity, holder, held = "me_1_ff", "me_1_ff", True


def ask(page: Any, method: str = "GET") -> Answer:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    told: list[Any] = []
    body = b"".join(page({**environ, "REQUEST_METHOD": method}, lambda *answer: told.append(answer)))
    ((status, headers),) = told
    return Answer(status, dict(headers), body)


@pytest.mark.parametrize("path", ["/status", "/status.json"])
def test_every_answer_says_that_it_is_not_to_be_kept_framed_or_guessed_at(path: str) -> None:
    page = pages(Board(), Holder())[path]
    for method in ("GET", "HEAD", "POST", "DELETE"):
        headers = ask(page, method).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in POLICY
    assert "frame-ancestors 'none'" in POLICY
    assert "unsafe" not in POLICY


@pytest.mark.parametrize("path", ["/status", "/status.json"])
def test_only_get_and_head_are_answered(path: str) -> None:
    page = pages(Board(), Holder())[path]
    got, headed = ask(page), ask(page, "HEAD")
    assert (got.status, headed.status) == ("200 OK", "200 OK")
    assert headed.body == b""
    assert got.headers == headed.headers
    assert int(got.headers["Content-Length"]) == len(got.body)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        answer = ask(page, method)
        assert answer.status == "405 Method Not Allowed"
        assert answer.headers["Allow"] == "GET, HEAD"


def test_more_questions_than_are_answered_at_once_are_told_to_come_again() -> None:
    class Slow(Board):
        going_on = threading.Event()
        asked = threading.Semaphore(0)

        def status(self) -> Status:
            self.asked.release()
            assert self.going_on.wait(SOON)
            return super().status()

    board = Slow()
    page = pages(board, Holder())["/status"]
    answers: deque[Answer] = deque()
    threads = [threading.Thread(target=lambda: answers.append(ask(page))) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert board.asked.acquire(timeout=SOON)
    refused = ask(page)
    assert (refused.status, refused.headers["Retry-After"]) == ("503 Service Unavailable", "1")
    board.going_on.set()
    for thread in threads:
        thread.join()
    assert {answer.status for answer in answers} == {"200 OK"}
    assert ask(page).status == "200 OK"


def test_it_needs_a_port() -> None:
    command = [str(CONSOLE), "controller", "--status-page", "--kubeconfig", "/nowhere"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1


# --------------------------------------------------------------------- process


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled(tmp_path_factory.mktemp("cluster"), HOSTILE) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def controller(cluster: Filled) -> Iterator[Controller]:
    options = "--namespace", cluster.namespace, "--audit-interval", "600", "--status-page"
    with running(cluster.kubeconfig, *options) as controller:
        yield controller


def read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def settled(controller: Controller) -> Any:
    """What it says when it has read everything and ended its first audit."""
    for _ in range(60):
        said = json.loads(read(f"{controller.url}/status.json"))
        if said["taken"] and said["audits"] and said["slices"]:
            return said
        threading.Event().wait(0.5)
    raise AssertionError("\n".join(controller.lines))


def shown(cluster: Filled) -> Any:
    """What the command line says of the same cluster."""
    command = [str(CONSOLE), "show", "--kubeconfig", cluster.kubeconfig, "-o", "json"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)["ranges"]


def test_what_it_says_of_ranges_is_what_show_says(cluster: Filled, controller: Controller) -> None:
    said, ranges = settled(controller), shown(cluster)
    assert said["ranges"] == ranges
    assert len(ranges) == 4
    table = Page(read(f"{controller.url}/status")).tables["Addresses of each range"]
    as_show_has_it = [
        {
            "Range": one["range"],
            "Network": one["network_name"] or "-",
            "Used": str(one["used"]),
            "Free": str(one["free"]),
            "Capacity": str(one["capacity"]),
            "Blocks": str(one["blocks"]),
            "Damaged": str(one["damaged_blocks"]),
            "Nodes": str(len(one["nodes"])),
        }
        for one in ranges
    ]
    rows = rows_of(table)
    used = [row.pop("Use").partition(",")[0] for row in rows]
    assert rows == as_show_has_it
    assert used == [f"{one['percent']} %" for one in ranges]


def test_it_tells_audits_and_every_problem(controller: Controller) -> None:
    said = settled(controller)
    assert said["leading"] is True
    assert said["leader"] == said["process"]
    (audit,) = said["audits"]
    assert (audit["blocks"], audit["freed"], audit["suspects"]) == (18, 0, 1)
    problems = {one["kind"]: [example["place"] for example in one["shown"]] for one in said["problems"]}
    assert problems.pop("bad-definition")[0].endswith("/broken")
    assert problems == {
        "conflict": [TWICE],
        "damaged-block": [DAMAGED],
        "full-range": ["192.168.7.0/29"],
        "node-without-slice": ["node-4", "node-5"],
        "unheard-node": [],
        "suspect": [SUSPECT],
    }


def test_a_standby_says_who_leads(cluster: Filled, controller: Controller) -> None:
    leader = settled(controller)["process"]
    options = "--namespace", cluster.namespace, "--status-page"
    with running(cluster.kubeconfig, *options, standby=True) as standby:
        for _ in range(60):
            said = json.loads(read(f"{standby.url}/status.json"))
            if said["leader"]:
                break
            threading.Event().wait(0.5)
        assert (said["leading"], said["leader"]) == (False, leader)
        assert (said["ranges"], said["audits"]) == ([], [])
        assert f"The work is done by {leader}." in Page(read(f"{standby.url}/status")).text


def test_without_the_option_there_is_no_page(cluster: Filled) -> None:
    with running(cluster.kubeconfig, "--namespace", cluster.namespace, standby=True) as standby:
        for path in ("/status", "/status.json"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                read(f"{standby.url}{path}")


# --------------------------------------------------------------------- browser


class Looked(NamedTuple):
    """The page as different people see it."""

    url: str
    wide: Seen
    dark: Seen
    narrow: Seen


@pytest.fixture(scope="module")
def seeing() -> Iterator[Browser]:
    with browser() as seeing:
        yield seeing


@pytest.fixture(scope="module")
def looked(controller: Controller, seeing: Browser) -> Looked:
    settled(controller)
    url = f"{controller.url}/status"
    looks = Look(), Look(dark=True), Look(width=400, height=800)
    return Looked(url, *(seeing.look(url, look) for look in looks))


@pytest.mark.browser
def test_a_browser_has_nothing_to_complain_of_and_asks_for_nothing_else(looked: Looked) -> None:
    for seen in looked[1:]:
        assert seen.messages == []
        assert seen.requests == [looked.url]
    assert Page(read(looked.url)).links == ["status.json"]


def test_the_style_sheet_stays_as_it_is_where_a_proxy_writes_the_page_anew() -> None:
    """The API server's does, to correct links: it escapes texts, and the hash would not fit any more."""
    assert set("&<>'\"").isdisjoint(STYLE)


@pytest.mark.browser
def test_a_browser_without_scripts_shows_all_tables_and_texts_as_they_are(looked: Looked) -> None:
    page = Page(read(looked.url))
    for seen in looked[1:]:
        assert seen.tables.keys() < page.tables.keys()
        assert all(seen.tables[caption] == page.tables[caption] for caption in seen.tables)
        assert seen.text.count(HOSTILE) == 3
        assert "Given twice (1)" in seen.text


@pytest.mark.browser
def test_a_narrow_page_needs_no_scrolling_sideways(looked: Looked) -> None:
    assert (looked.narrow.overflow, looked.wide.overflow) == (0, 0)


@pytest.mark.browser
def test_a_screen_reader_is_told_of_tables_and_of_what_pictures_show(looked: Looked) -> None:
    for seen in (looked.wide, looked.narrow):
        roles = {role for role, _ in seen.roles}
        assert {"heading", "table", "row", "columnheader", "rowheader", "cell", "main"} <= roles
        assert ("table", "Addresses of each range") in seen.roles
        assert any(role == "rowheader" and "10.20.0.0/23" in name for role, name in seen.roles)
        images = [name for role, name in seen.roles if role in ("image", "img", "graphics-document")]
        assert "6 used, 2 never given" in images
        assert all(images)


@pytest.mark.browser
def test_dark_is_dark_and_light_is_light(looked: Looked) -> None:
    for seen, expected in ((looked.wide, "ffffff"), (looked.dark, "0f1318")):
        picture = Image.open(io.BytesIO(seen.picture)).convert("RGB")
        assert picture.crop((2, 2, 3, 3)).tobytes().hex() == expected


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _contrast(one: str, other: str) -> float:
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_texts_and_boxes_stand_out_from_their_ground(scheme: int) -> None:
    variables: Sequence[dict[str, str]] = [
        dict(re.findall(r"--([a-z]+):(#[0-9a-f]+);", block)) for block in re.findall(r":root{([^}]*)}", STYLE)
    ]
    colours = {**variables[0], **variables[scheme]}
    for text in ("text", "quiet", "link", "good", "amber", "red"):
        assert _contrast(colours[text], colours["ground"]) >= 4.5, text
    assert _contrast(colours["text"], colours["shade"]) >= 4.5
    for state in (State.USED, State.DAMAGED):
        assert _contrast(colours[state.name.lower()], colours["free"]) >= 3.0, state


def test_the_picture_in_the_documents_is_small() -> None:
    assert 10_000 < len((IMAGES / NAME).read_bytes()) < 150_000
