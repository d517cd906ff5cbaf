"""The status page: what a controller knows, as one HTML document that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from whereabouts.controller.markup import Content, Markup, element, markup
from whereabouts.controller.page_map import as_html
from whereabouts.controller.page_style import STYLE, STYLE_HASH
from whereabouts.controller.status_facts import (
    PROBLEMS,
    AuditRun,
    Example,
    Problem,
    Process,
    Status,
    View,
    free_slices,
    moment,
)
from whereabouts.pool import PoolKey
from whereabouts.slices import SlicePool
from whereabouts.usage import RangeUse

POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page: nothing but its own style sheet."""
NEARLY_FULL, VERY_FULL = 80, 95
"""Per cent from which a range's bar is in another colour, as the alerts have it."""
OPEN_PICTURES = 4
OPEN_EXAMPLES = 5
"""Pictures, and problems of one kind, that need not be unfolded."""
_SHOWN_NODES = 10


def render(process: Process, status: Status) -> bytes:
    """The page, in UTF-8."""
    body = _of_leader(status) if process.leading else _of_standby(process)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", "Status of whereabouts"),
        element("style", Markup(STYLE)),
    )
    content = element("body", _header(process, status), element("main", body), _footer())
    return f"<!DOCTYPE html>\n{element('html', head, content, lang='en')}\n".encode()


def _header(process: Process, status: Status) -> Markup:
    view = status.view
    seen: Sequence[Content] = ()
    if process.leading and view is not None:
        seen = "The datastore as of ", _time(view.taken), "."
    doing = "leads" if process.leading else "stands by"
    return element(
        "header",
        element("h1", "whereabouts"),
        element("p", "Controller ", element("code", process.identity), f" {doing}. ", seen),
    )


def _footer() -> Markup:
    return element(
        "footer",
        element(
            "p",
            "The same for programs: ",
            element("a", "status.json", href="status.json"),
            ". More is found by ",
            element("code", "whereabouts check"),
            ".",
        ),
    )


def _of_standby(process: Process) -> Markup:
    if not process.leader:
        return element("p", "Nobody is known to do the work of the controller now.", class_="red")
    pod = process.leader.split("_", 1)[0]
    return markup(
        element("p", "The work is done by ", element("code", process.leader), "."),
        element("p", "Only that process knows more: look at the page of pod ", element("code", pod), "."),
    )


def _of_leader(status: Status) -> Markup:
    view = status.view
    return markup(
        _problems(status),
        _ranges(view) if view else element("p", "The datastore has not been read yet: come again soon."),
        _maps(view) if view else None,
        _audits(status.audits),
        _slices(status.slices) if status.slices else None,
    )


# ------------------------------------------------------------------- problems


def _problems(status: Status) -> Markup:
    problems = status.problems
    if problems:
        return _section("Problems", *map(_problem, problems))
    known = status.view is not None or status.audits
    said = element("p", "None is known.", class_="good") if known else element("p", "Not known yet.")
    return _section("Problems", said)


def _problem(problem: Problem) -> Markup:
    kind = PROBLEMS[problem.kind]
    first, folded = problem.shown[:OPEN_EXAMPLES], problem.shown[OPEN_EXAMPLES:]
    unfold = f"{len(folded)} of {problem.number - len(first)} more"
    return markup(
        element("h3", f"{kind.title} ({problem.number})"),
        element("p", f"{_sentence(kind.meaning)} {_sentence(kind.remedy)}", class_="quiet"),
        _examples(first) if first else None,
        element("details", element("summary", unfold), _examples(folded)) if folded else None,
    )


def _examples(examples: Sequence[Example]) -> Markup:
    entries = [element("li", element("strong", one.place), ": ", one.message) for one in examples]
    return element("ul", entries, class_="examples")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


# --------------------------------------------------------------------- ranges


def _ranges(view: View) -> Markup:
    headings = "Range", "Network", "Use", "Used", "Free", "Capacity", "Blocks", "Damaged", "Nodes"
    rows = [_range_row(use) for use in view.uses]
    if not rows:
        return _section("Ranges", element("p", "There is none: no pod has had an address yet."))
    return _section("Ranges", _table("Addresses of each range", headings, rows, numbers=headings[3:]))


def _range_row(use: RangeUse) -> list[Content]:
    key = use.pool.key
    counts = use.used, use.free, use.capacity, use.blocks, use.damaged, len(use.nodes or {})
    return [key.range, key.network_name or "-", _bar(use.percent), *map(str, counts)]


def _bar(percent: int) -> Markup:
    level, remark = "", ""
    if percent >= NEARLY_FULL:
        level, remark = ("red", ", full") if percent >= VERY_FULL else ("amber", ", nearly full")
    fill = element("rect", width=percent, height=1)
    bar = element(
        "svg",
        fill,
        viewBox="0 0 100 1",
        preserveAspectRatio="none",
        class_=f"bar {level}".rstrip(),
        aria_hidden="true",
    )
    text = element("span", f"{percent} %{remark}", class_=level or None)
    return element("div", text, bar, class_="use")


def _maps(view: View) -> Markup:
    uses = {use.pool.key: use for use in view.uses}
    pictures = []
    for number, (key, picture) in enumerate(view.pictures.items()):
        caption = f"Each row begins with its first address, and goes on for {picture.window.span} addresses."
        pictures.append(
            element(
                "details",
                element("summary", _called(key)),
                as_html(picture, caption),
                _nodes(uses[key]),
                open=number < OPEN_PICTURES,
            )
        )
    more = len(uses) - len(pictures)
    left_out = element("p", f"{more} more ranges are not drawn: whereabouts map RANGE does that.")
    return _section("Maps", pictures, left_out if more > 0 else None)


def _called(key: PoolKey) -> str:
    return f"{key.range} of network_name {key.network_name}" if key.network_name else key.range


def _nodes(use: RangeUse) -> Markup | None:
    nodes = use.nodes or {}
    if not nodes:
        return None
    most = sorted(nodes, key=lambda name: (-nodes[name], name))[:_SHOWN_NODES]
    shown = ", ".join(f"{name or 'unknown'} {nodes[name]}" for name in most)
    more = f", and {len(nodes) - len(most)} more nodes" if len(nodes) > len(most) else ""
    return element("p", f"Addresses by node: {shown}{more}.", class_="quiet")


# --------------------------------------------------------------------- audits


def _audits(runs: Sequence[AuditRun]) -> Markup:
    if not runs:
        return _section("Audits", element("p", "None has ended yet."))
    headings = "Ended", "Seconds", "Blocks", "Allocations", "Freed", "Suspects", "Failures"
    rows = [_audit_row(run) for run in runs]
    return _section("Audits", _table("The last ones", headings, rows, numbers=headings[1:]))


def _audit_row(run: AuditRun) -> list[Content]:
    counts = run.blocks, run.records, run.freed, run.suspects
    failures = element("span", len(run.failures), class_="red" if run.failures else None)
    return [_time(run.ended), f"{run.seconds:.1f}", *map(str, counts), failures]


def _slices(pools: Sequence[SlicePool]) -> Markup:
    headings = "Pool", "Range", "Slice size", "Slices", "Free"
    rows: list[list[Content]] = [
        [pool.name, pool.range, pool.slice_size, str(len(pool.slices)), str(free_slices(pool))]
        for pool in pools
    ]
    return _section("Node slices", _table("Slices of each range", headings, rows, numbers=headings[3:]))


# --------------------------------------------------------------------- pieces


def _section(title: str, *content: Content | Iterable[Content]) -> Markup:
    name = title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *content, aria_labelledby=name)


def _table(
    caption: str, headings: Sequence[str], rows: Iterable[Sequence[Content]], *, numbers: Sequence[str]
) -> Markup:
    """A table. Its parts say what they are: browsers may forget it where a page is narrow."""
    heads = [
        element(
            "th",
            heading,
            scope="col",
            role="columnheader",
            class_="number" if heading in numbers else None,
        )
        for heading in headings
    ]
    body = [element("tr", _cells(headings, row, numbers), role="row") for row in rows]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", heads, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_="list",
        role="table",
    )


def _cells(headings: Sequence[str], row: Sequence[Content], numbers: Sequence[str]) -> Iterator[Markup]:
    for column, (heading, content) in enumerate(zip(headings, row, strict=True)):
        first = column == 0
        yield element(
            "th" if first else "td",
            content,
            scope="row" if first else None,
            role="rowheader" if first else "cell",
            class_="number" if heading in numbers else None,
            data_label=heading,
        )


def _time(seconds: float) -> Markup:
    text = moment(seconds)
    return element("time", f"{text[:10]} {text[11:19]} UTC", datetime=text)
