"""The verbs on this project's custom resources in one namespace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from whereabouts.deadline import Deadline
from whereabouts.stores.kube_api import (
    JSON,
    JSON_PATCH,
    MERGE_PATCH,
    METADATA,
    METADATA_LIST,
    ApiClient,
    NotFound,
    Request,
)
from whereabouts.stores.kube_listing import pages
from whereabouts.stores.kube_objects import API_VERSION
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

PAGE = {True: 500, False: 50}
"""Objects in one answer to a list, by whether it is of metadata only. A full block is about 20 KB."""


class Resources:
    """Custom resources over an API client. See :mod:`whereabouts.stores.kube_api` for what is raised."""

    def __init__(self, api: ApiClient, namespace: str = "") -> None:
        """The resources in ``namespace``, or in the one of the credentials."""
        self.api = api
        self.namespace = namespace or api.namespace

    def path(self, plural: str, name: str = "") -> str:
        """The path of a collection, or of one object."""
        collection = f"/apis/{API_VERSION}/namespaces/{self.namespace}/{plural}"
        return f"{collection}/{name}" if name else collection

    def get(self, plural: str, name: str, deadline: Deadline, *, metadata_only: bool = False) -> Any:
        """The object, or None."""
        accept = METADATA if metadata_only else JSON
        try:
            return self.api.send(Request("GET", self.path(plural, name), accept=accept), deadline)
        except NotFound:
            # Where the whole kind is missing, a list says so in words that help.
            return None

    def create(self, plural: str, content: object, deadline: Deadline) -> Any:
        """Create an object; its metadata. Conflict if there is one of that name."""
        return self.api.send(Request("POST", self.path(plural), content, accept=METADATA), deadline)[
            "metadata"
        ]

    def replace(self, plural: str, name: str, content: object, deadline: Deadline) -> Any:
        """Replace an object whose metadata has its revision; its new metadata."""
        request = Request("PUT", self.path(plural, name), content, accept=METADATA)
        return self.api.send(request, deadline)["metadata"]

    def merge(self, plural: str, name: str, patch: object, deadline: Deadline, subresource: str = "") -> Any:
        """Apply a merge patch; the object's new metadata."""
        path = self.path(plural, name) + subresource
        return self.api.send(Request("PATCH", path, patch, MERGE_PATCH, METADATA), deadline)["metadata"]

    def change(self, plural: str, name: str, operations: object, deadline: Deadline) -> Any:
        """Apply a JSON patch; the object's new metadata. Conflict if a test in it failed."""
        request = Request("PATCH", self.path(plural, name), operations, JSON_PATCH, METADATA)
        return self.api.send(request, deadline)["metadata"]

    def delete(self, plural: str, name: str, deadline: Deadline, *, revision: str = "") -> None:
        """Delete an object, where it is as it was at ``revision`` if one is given; it may be gone already."""
        body = {"preconditions": {"resourceVersion": revision} if revision else {}}
        with suppress(NotFound):
            self.api.send(Request("DELETE", self.path(plural, name), body), deadline)

    def list(
        self, plural: str, deadline: Deadline, *, selector: str = "", metadata_only: bool = False
    ) -> Iterator[Any]:
        """Every object, in pages. A list that took too long begins again, so that objects come twice."""
        accept = METADATA_LIST if metadata_only else JSON
        limit = PAGE[metadata_only]
        for page in pages(
            self.api, self.path(plural), deadline, limit=limit, accept=accept, selector=selector
        ):
            yield from page.items
