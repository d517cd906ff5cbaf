"""Collections in pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from whereabouts.deadline import Deadline
from whereabouts.stores.kube_api import JSON, ApiClient, Expired, Request
from whereabouts.values import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any


class Page(NamedTuple):
    """Some of the objects of a collection."""

    items: list[Any]
    """Emptied when the next page is asked for, so that no more than one page is ever in memory."""
    revision: str
    """The revision of the whole list: where a watch may go on."""
    position: str
    """Where the next page begins; empty for the last one."""
    first: bool = False
    """Whether the list begins here: again, where it took so long that its next page was gone."""


def read_json(text: bytes) -> Page:
    """A page with its objects as JSON has them."""
    content = json.loads(text)
    metadata = content["metadata"]
    items = content["items"] or []  # null: of metadata, and none
    return Page(items, metadata["resourceVersion"], metadata.get("continue") or "")


def pages(
    api: ApiClient,
    path: str,
    deadline: Deadline,
    *,
    limit: int,
    accept: str = JSON,
    selector: str = "",
    read: Callable[[bytes], Page] = read_json,
) -> Iterator[Page]:
    """The collection at ``path``, ``limit`` objects at a time, as ``read`` makes pages of answers.

    Raises the errors of :mod:`whereabouts.stores.kube_api` but Expired: then the list begins again.
    """
    position, pause, first = "", 0.1, True
    while True:
        query = {"limit": str(limit), "labelSelector": selector, "continue": position}
        asked = tuple((name, value) for name, value in query.items() if value)
        try:
            page = read(api.fetch(Request("GET", path, accept=accept, query=asked), deadline))
        except Expired as error:
            deadline.pause(pause, str(error))
            position, pause, first = "", 2 * pause, True
            continue
        yield page._replace(first=first)
        page.items.clear()
        position, first = page.position, False
        if not position:
            return
