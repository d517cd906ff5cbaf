"""A double of the API server for what this project asks of one: small, strict, and able to fail.

It knows what the project relies on and refuses everything else with 501: create, get, list in pages, merge
and JSON patch, replace, delete with preconditions and grace, watch with bookmarks, metadata-only answers,
managedFields, the status subresource, the schemas of the files in deploy/crds, and a few kinds of
Kubernetes' own. What proves it is that the tests of the project run unchanged over it and over a real API
server.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .api_double_kinds import Kind, end_of, kinds
from .api_double_patches import json_patched, merge_patched
from .api_double_requests import UNKNOWN_PATH, Asked, Cut, Failure, Fault, serve, status
from .api_double_schemas import check_metadata, invalid
from .api_server import Reply

OBJECT_LIMIT = 1536 << 10
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
METADATA = re.compile(r"application/json;as=PartialObjectMetadata(List)?;g=meta\.k8s\.io;v=v1")
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?P<sub>/status)?"
)
QUERY = {"limit", "continue", "labelSelector"}
WATCH_QUERY = {"watch", "resourceVersion", "allowWatchBookmarks", "timeoutSeconds"}
KEPT_EVENTS = 1000


class Place(NamedTuple):
    """What a path means."""

    kind: Kind
    namespace: str
    """Empty for all of them, and for what is in none."""
    name: str
    status: bool


class ApiDouble:
    """Objects in memory behind an HTTP server on loopback."""

    def __init__(self) -> None:
        self.kinds = kinds()
        self.lock = threading.Condition()
        self.revision = itertools.count(100)
        self.now = 100
        self.objects: dict[tuple[str, str, str], Any] = {}
        self.events: list[tuple[int, str, str, str, Any]] = []
        self.compacted = 0
        self.pages: dict[str, list[Any]] = {}
        self.asked: list[Asked] = []
        self.fault: Callable[[Asked], Fault | None] = lambda _: None
        self.token = ""
        self.bookmarks = True
        """Whether watches that ask for bookmarks get them."""
        self._cuts = 0
        self._namespaces = itertools.count()
        self._http = serve(self)
        self.server = f"http://127.0.0.1:{self._http.server_port}"
        self.authority = ""
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.cut()
        self._http.shutdown()
        self._http.server_close()

    def namespace(self) -> str:
        return f"test-{next(self._namespaces)}"

    def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> Reply:
        """Ask without HTTP, faults and record."""
        url = urlsplit(path)
        query = dict(parse_qsl(url.query))
        try:
            return Reply(
                *self.answer(Asked(method, url.path, query, content_type, "", self.token, deepcopy(body)))
            )
        except Failure as failure:
            return Reply(failure.code, status(failure))

    # ------------------------------------------------------------- requests

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self._admit(asked)
        if (asked.method, asked.path) == ("GET", "/apis"):
            groups = sorted({kind.group for kind in self.kinds.values() if kind.group})
            return 200, {"kind": "APIGroupList", "groups": [{"name": group} for group in groups]}
        place = self._place(asked.path)
        if set(asked.query) - QUERY:
            raise Failure(501, "NotImplemented", f"the double does not know the query {asked.query}")
        if place.kind.namespaced and not place.namespace and asked.method != "GET":
            raise Failure(405, "MethodNotAllowed", "the server does not allow this method on the resource")
        with self.lock:
            verb = {
                ("GET", False): self._list,
                ("POST", False): self._create,
                ("GET", True): self._get,
                ("PUT", True): self._replace,
                ("PATCH", True): self._patch,
                ("DELETE", True): self._delete,
            }.get((asked.method, place.name != ""))
            if verb is None:
                raise Failure(501, "NotImplemented", f"the double does not know {asked.method} {asked.path}")
            code, content = verb(asked, place)
            return code, _as_asked(content, asked.accept)

    def _admit(self, asked: Asked) -> None:
        if self.token and asked.token != self.token:
            raise Failure(401, "Unauthorized", "Unauthorized")

    def _place(self, path: str) -> Place:
        match = PATH.fullmatch(path)
        kind = match and self.kinds.get(match["plural"])
        if not match or not kind or kind.api_version != (match["core"] or match["group"]):
            raise Failure(404, "NotFound", UNKNOWN_PATH)
        namespace, name = match["namespace"] or "", match["name"] or ""
        if (namespace and not kind.namespaced) or (name and kind.namespaced and not namespace):
            raise Failure(404, "NotFound", UNKNOWN_PATH)
        if match["sub"] and not kind.status:
            raise Failure(404, "NotFound", UNKNOWN_PATH)
        return Place(kind, namespace, name, bool(match["sub"]))

    def _get(self, asked: Asked, place: Place) -> tuple[int, Any]:
        return 200, self._existing(place)

    def _existing(self, place: Place) -> Any:
        kind = place.kind
        try:
            return self.objects[place.namespace, kind.plural, place.name]
        except KeyError:
            message = f'{kind.qualified} "{place.name}" not found'
            raise Failure(404, "NotFound", message, kind.details(place.name)) from None

    def _list(self, asked: Asked, place: Place) -> tuple[int, Any]:
        if token := asked.query.get("continue"):
            if token not in self.pages:
                raise Failure(410, "Expired", "The provided continue parameter is too old")
            found = self.pages.pop(token)
        else:
            found = [
                content
                for (where, plural, _), content in sorted(self.objects.items())
                if plural == place.kind.plural
                and place.namespace in ("", where)
                and _selected(content, asked.query.get("labelSelector", ""))
            ]
        metadata: dict[str, Any] = {"resourceVersion": str(self.now)}
        limit = int(asked.query.get("limit") or 0)
        if limit and len(found) > limit:
            metadata["continue"] = f"page-{next(self.revision)}"
            self.pages[metadata["continue"]] = found[limit:]
            metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return 200, {"kind": f"{place.kind.kind}List", "metadata": metadata, "items": found}

    def _create(self, asked: Asked, place: Place) -> tuple[int, Any]:
        content, kind = asked.body, place.kind
        if (content.get("kind"), content.get("apiVersion")) != (kind.kind, kind.api_version):
            raise Failure(
                400, "BadRequest", "the kind or apiVersion of the object does not match the request"
            )
        metadata = content.setdefault("metadata", {})
        name = metadata.get("name", "")
        if metadata.get("resourceVersion"):
            raise Failure(500, "InternalError", "resourceVersion should not be set on objects to be created")
        if metadata.get("namespace", place.namespace) != place.namespace:
            raise Failure(400, "BadRequest", "the namespace of the object does not match the request")
        if (place.namespace, kind.plural, name) in self.objects:
            message = f'{kind.qualified} "{name}" already exists'
            raise Failure(409, "AlreadyExists", message, kind.details(name))
        metadata |= {
            "uid": f"uid-{next(self.revision)}",
            "creationTimestamp": end_of(0),
            "generation": 1,
        }
        if kind.namespaced:
            metadata["namespace"] = place.namespace
        faults = list(invalid(content, kind.schema, ""))
        if not faults:
            kind.creating(content)
        self._store(place._replace(name=name), content, None)
        return 201, content

    def _replace(self, asked: Asked, place: Place) -> tuple[int, Any]:
        return 200, self._update(place, asked.body)

    def _patch(self, asked: Asked, place: Place) -> tuple[int, Any]:
        content = deepcopy(self._existing(place))
        if asked.content_type == MERGE:
            content = merge_patched(content, asked.body)
        elif asked.content_type == JSON_PATCH:
            content = json_patched(content, asked.body)
        else:
            raise Failure(415, "UnsupportedMediaType", f"the double does not know {asked.content_type}")
        return 200, self._update(place, content)

    def _update(self, place: Place, content: Any) -> Any:
        kind, before = place.kind, self._existing(place)
        claimed = content["metadata"].get("resourceVersion")
        if claimed and claimed != before["metadata"]["resourceVersion"]:
            raise Failure(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.qualified} "{place.name}": the object has been '
                "modified; please apply your changes to the latest version and try again",
                kind.details(place.name),
            )
        if kind.status:
            kept = content if place.status else before
            content = {**(before if place.status else content), "status": kept.get("status")}
            if content["status"] is None:
                del content["status"]
        content["metadata"] = {**content["metadata"]}
        for field in ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp"):
            content["metadata"].pop(field, None)
            if field in before["metadata"]:
                content["metadata"][field] = before["metadata"][field]
        self._store(place, content, before)
        return content

    def _store(self, place: Place, content: Any, before: Any) -> None:
        metadata, kind = content["metadata"], place.kind
        check_metadata(metadata)
        faults = list(invalid(content, kind.schema, ""))
        if faults:
            message = f'{kind.kind}.{kind.group} "{metadata["name"]}" is invalid: {"; ".join(faults)}'
            raise Failure(422, "Invalid", message)
        given = metadata.get("managedFields")
        switched_off = given == [{}] or (before is not None and "managedFields" not in before["metadata"])
        if switched_off:
            metadata.pop("managedFields", None)
        else:
            metadata["managedFields"] = [{"manager": "double", "operation": "Update"}]
        metadata["resourceVersion"] = before["metadata"]["resourceVersion"] if before else "0"
        if before == content:
            return
        if before is not None and before.get("spec") != content.get("spec"):
            metadata["generation"] += 1
        if len(json.dumps(content)) > OBJECT_LIMIT:
            raise Failure(500, "InternalError", "etcdserver: request is too large")
        self.now = next(self.revision)
        metadata["resourceVersion"] = str(self.now)
        self.objects[place.namespace, kind.plural, metadata["name"]] = content
        self._notify("MODIFIED" if before else "ADDED", place, content)

    def _delete(self, asked: Asked, place: Place) -> tuple[int, Any]:
        content, options = self._existing(place), asked.body or {}
        for field, value in (options.get("preconditions") or {}).items():
            if content["metadata"][field] != value:
                raise Failure(409, "Conflict", f"Precondition failed: {field} in precondition: {value}")
        grace = place.kind.graceful(content)
        if grace and options.get("gracePeriodSeconds") != 0:
            going = deepcopy(content)
            going["metadata"].setdefault("deletionTimestamp", end_of(grace))
            self._store(place, going, content)
            return 200, going
        del self.objects[place.namespace, place.kind.plural, place.name]
        self.now = next(self.revision)
        gone = deepcopy(content)
        gone["metadata"]["resourceVersion"] = str(self.now)
        self._notify("DELETED", place, gone)
        return 200, {"kind": "Status", "status": "Success"}

    # ---------------------------------------------------------------- watch

    def _notify(self, kind_of_event: str, place: Place, content: Any) -> None:
        self.events.append((self.now, place.namespace, place.kind.plural, kind_of_event, deepcopy(content)))
        if len(self.events) > KEPT_EVENTS:
            self.compacted = self.events.pop(0)[0]
        self.lock.notify_all()

    def compact(self) -> None:
        """Forget the past: watches and lists that want it are told 410."""
        with self.lock:
            self.compacted = self.now
            self.events.clear()
            self.pages.clear()

    def cut(self) -> None:
        """Cut all watches that are going on."""
        with self.lock:
            self._cuts += 1
            self.lock.notify_all()

    def watch(self, asked: Asked) -> Iterator[Any]:
        """Events since a revision, until ``timeoutSeconds`` are over; bookmarks between where asked for."""
        cuts = self._cuts  # before it is let in: one that is let in before a cut is cut
        self._admit(asked)
        place = self._place(asked.path)
        if asked.method != "GET" or place.name or set(asked.query) - WATCH_QUERY:
            raise Failure(501, "NotImplemented", f"the double does not know this watch: {asked}")
        return self._changes(asked, place, cuts)

    def _changes(self, asked: Asked, place: Place, cuts: int) -> Iterator[Any]:
        seen = int(asked.query.get("resourceVersion") or self.now)
        end = time.monotonic() + float(asked.query.get("timeoutSeconds", 30))
        if seen < self.compacted:
            failure = Failure(410, "Expired", f"too old resource version: {seen} ({self.compacted})")
            yield {"type": "ERROR", "object": status(failure)}
            return
        while (left := end - time.monotonic()) > 0:
            with self.lock:
                new = [event for event in self.events if event[0] > seen]
                if not new and cuts == self._cuts:
                    self.lock.wait(min(left, 0.2))
                    new = [event for event in self.events if event[0] > seen]
            if cuts != self._cuts:
                raise Cut
            for revision, namespace, plural, kind_of_event, content in new:
                seen = revision
                if plural == place.kind.plural and place.namespace in ("", namespace):
                    yield {"type": kind_of_event, "object": _as_asked(content, asked.accept)}
            if not new and self.bookmarks and asked.query.get("allowWatchBookmarks") == "true":
                yield {
                    "type": "BOOKMARK",
                    "object": {"kind": place.kind.kind, "metadata": {"resourceVersion": str(seen)}},
                }


def _as_asked(content: Any, accept: str) -> Any:
    """Metadata only, where that was asked for."""
    if not METADATA.fullmatch(accept):
        return deepcopy(content)
    if "items" in content:
        # The real server writes null for no item here, and [] in lists of whole objects.
        return {**content, "items": [_as_asked(item, accept) for item in content["items"]] or None}
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": deepcopy(content["metadata"]),
    }


def _selected(content: Any, selector: str) -> bool:
    labels = content["metadata"].get("labels") or {}
    return all(
        labels.get(name) == value
        for name, _, value in (term.partition("=") for term in selector.split(",") if term)
    )


@contextmanager
def api_double() -> Iterator[ApiDouble]:
    """A double for the time of a test."""
    double = ApiDouble()
    try:
        yield double
    finally:
        double.stop()
