"""Collections in pages."""

from __future__ import annotations

from collections.abc import Iterator

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
    first: bool
    """Whether the list begins here: again, where it took so long that its next page was gone."""


def pages(
    api: ApiClient, path: str, deadline: Deadline, *, limit: int, accept: str = JSON, selector: str = ""
) -> Iterator[Page]:
    """The collection at ``path``, ``limit`` objects at a time.

    Raises the errors of :mod:`whereabouts.stores.kube_api` but Expired: then the list begins again.
    """
    position, pause, first = "", 0.1, True
    while True:
        query = {"limit": str(limit), "labelSelector": selector, "continue": position}
        asked = tuple((name, value) for name, value in query.items() if value)
        try:
            content = api.send(Request("GET", path, accept=accept, query=asked), deadline)
        except Expired as error:
            deadline.pause(pause, str(error))
            position, pause, first = "", 2 * pause, True
            continue
        items, metadata = content["items"] or [], content["metadata"]  # null: of metadata, and none
        del content
        yield Page(items, metadata["resourceVersion"], first)
        items.clear()
        position, first = metadata.get("continue") or "", False
        if not position:
            return
