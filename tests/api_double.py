"""A double of the API server for this project's custom resources: small, strict, and able to fail.

It knows what the store relies on and refuses everything else with 501: create, get, list in pages, merge and
JSON patch, replace, delete with preconditions, watch with bookmarks, metadata-only answers, managedFields,
the status subresource, and the schemas of the files in deploy/crds. What proves it is that the tests of the
store run unchanged over it and over a real API server.
"""

import itertools
import json
import re
import sys
import threading
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from .api_server import CRDS, Reply, definition

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
ANNOTATIONS_LIMIT, OBJECT_LIMIT = 256 << 10, 1536 << 10
MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
METADATA = re.compile(r"application/json;as=PartialObjectMetadata(List)?;g=meta\.k8s\.io;v=v1")
TESTS_FAILED = "the server rejected our request due to an error in our request"
UNKNOWN_PATH = "404 page not found"
"""What is no Status, but plain text."""
KEPT_EVENTS = 1000


class Failure(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.headers = code, reason, headers


class Fault(NamedTuple):
    """How a request is to fail: answered with ``code``, or with the connection cut (0).

    With ``after`` what was asked is done first.
    """

    code: int = 0
    after: bool = False
    retry_after: str = ""
    seconds: float = 0.0


class Asked(NamedTuple):
    """A request as a test sees it."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    accept: str
    token: str
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path.partition('/namespaces/')[2].partition('/')[2]}"


class Kind(NamedTuple):
    plural: str
    kind: str
    schema: Any
    status: bool


def kinds() -> dict[str, Kind]:
    found = {}
    for path in CRDS.glob("*.yaml"):
        spec = definition(path)["spec"]
        (version,) = spec["versions"]
        names = spec["names"]
        found[names["plural"]] = Kind(
            names["plural"],
            names["kind"],
            version["schema"]["openAPIV3Schema"],
            "status" in version.get("subresources", {}),
        )
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that have gone away are what the tests are about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*_)  # type: ignore[arg-type]


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
        self._namespaces = itertools.count()
        self._http = _Server(("127.0.0.1", 0), _handler(self))
        self.server = f"http://127.0.0.1:{self._http.server_port}"
        self.authority = ""
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
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
        if self.token and asked.token != self.token:
            raise Failure(401, "Unauthorized", "Unauthorized")
        match = re.fullmatch(
            r"/apis/whereabouts\.cni\.cncf\.io/v1alpha1/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(/status)?",
            asked.path,
        )
        if re.fullmatch(r"/api/v1/namespaces/[^/]+/events", asked.path) and asked.method == "POST":
            with self.lock:
                self.objects["-", "events", str(next(self.revision))] = asked.body
            return 201, asked.body
        if match is None or match[2] not in self.kinds:
            raise Failure(404, "NotFound", UNKNOWN_PATH)
        namespace, plural, name, sub = match.groups()
        with self.lock:
            verb = {
                ("GET", False): self._list,
                ("POST", False): self._create,
                ("GET", True): self._get,
                ("PUT", True): self._replace,
                ("PATCH", True): self._patch,
                ("DELETE", True): self._delete,
            }.get((asked.method, name is not None))
            if verb is None:
                raise Failure(501, "NotImplemented", f"the double does not know {asked.method} {asked.path}")
            code, content = verb(asked, namespace, self.kinds[plural], name or "", bool(sub))
            return code, _as_asked(content, asked.accept)

    def _get(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        return 200, self._existing(namespace, kind, name)

    def _existing(self, namespace: str, kind: Kind, name: str) -> Any:
        try:
            return self.objects[namespace, kind.plural, name]
        except KeyError:
            message = f'{kind.plural}.whereabouts.cni.cncf.io "{name}" not found'
            raise Failure(404, "NotFound", message) from None

    def _list(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        if asked.query.get("watch"):
            raise Failure(501, "NotImplemented", "watches are served as streams")
        if token := asked.query.get("continue"):
            if token not in self.pages:
                raise Failure(410, "Expired", "The provided continue parameter is too old")
            found = self.pages.pop(token)
        else:
            found = [
                content
                for (where, plural, _), content in sorted(self.objects.items())
                if (where, plural) == (namespace, kind.plural)
                and _selected(content, asked.query.get("labelSelector", ""))
            ]
        metadata: dict[str, Any] = {"resourceVersion": str(self.now)}
        limit = int(asked.query.get("limit") or 0)
        if limit and len(found) > limit:
            metadata["continue"] = f"page-{next(self.revision)}"
            self.pages[metadata["continue"]] = found[limit:]
            metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return 200, {"kind": f"{kind.kind}List", "metadata": metadata, "items": found}

    def _create(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        content = asked.body
        if (
            content.get("kind") != kind.kind
            or content.get("apiVersion") != "whereabouts.cni.cncf.io/v1alpha1"
        ):
            raise Failure(
                400, "BadRequest", "the kind or apiVersion of the object does not match the request"
            )
        metadata = content.setdefault("metadata", {})
        name = metadata.get("name", "")
        if metadata.get("resourceVersion"):
            raise Failure(500, "InternalError", "resourceVersion should not be set on objects to be created")
        if (namespace, kind.plural, name) in self.objects:
            message = f'{kind.plural}.whereabouts.cni.cncf.io "{name}" already exists'
            raise Failure(409, "AlreadyExists", message)
        metadata |= {
            "namespace": namespace,
            "uid": f"uid-{next(self.revision)}",
            "creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "generation": 1,
        }
        if kind.status:
            content.pop("status", None)
        self._store(namespace, kind, content, None)
        return 201, content

    def _replace(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        return 200, self._update(namespace, kind, name, sub, asked.body)

    def _patch(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        content = deepcopy(self._existing(namespace, kind, name))
        if asked.content_type == MERGE:
            content = merge_patched(content, asked.body)
        elif asked.content_type == JSON_PATCH:
            content = json_patched(content, asked.body)
        else:
            raise Failure(415, "UnsupportedMediaType", f"the double does not know {asked.content_type}")
        return 200, self._update(namespace, kind, name, sub, content)

    def _update(self, namespace: str, kind: Kind, name: str, sub: bool, content: Any) -> Any:
        before = self._existing(namespace, kind, name)
        claimed = content["metadata"].get("resourceVersion")
        if claimed and claimed != before["metadata"]["resourceVersion"]:
            raise Failure(
                409,
                "Conflict",
                f"Operation cannot be fulfilled on {kind.plural}.whereabouts.cni.cncf.io "
                f'"{name}": the object has been modified; please apply your changes to the latest version '
                "and try again",
            )
        if kind.status:
            kept = before if not sub else content
            content = {**(before if sub else content), "status": kept.get("status")}
            if content["status"] is None:
                del content["status"]
        for field in ("name", "namespace", "uid", "creationTimestamp", "generation"):
            content["metadata"][field] = before["metadata"].get(field)
        self._store(namespace, kind, content, before)
        return content

    def _store(self, namespace: str, kind: Kind, content: Any, before: Any) -> None:
        metadata = content["metadata"]
        _check_metadata(metadata)
        faults = list(invalid(content, kind.schema, ""))
        if faults:
            message = (
                f'{kind.kind}.whereabouts.cni.cncf.io "{metadata["name"]}" is invalid: {"; ".join(faults)}'
            )
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
        self.objects[namespace, kind.plural, metadata["name"]] = content
        self._notify("MODIFIED" if before else "ADDED", namespace, kind, content)

    def _delete(self, asked: Asked, namespace: str, kind: Kind, name: str, sub: bool) -> tuple[int, Any]:
        content = self._existing(namespace, kind, name)
        for field, value in ((asked.body or {}).get("preconditions") or {}).items():
            if content["metadata"][field] != value:
                raise Failure(409, "Conflict", f"Precondition failed: {field} in precondition: {value}")
        del self.objects[namespace, kind.plural, name]
        self.now = next(self.revision)
        self._notify("DELETED", namespace, kind, content)
        return 200, {"kind": "Status", "status": "Success"}

    # ---------------------------------------------------------------- watch

    def _notify(self, kind_of_event: str, namespace: str, kind: Kind, content: Any) -> None:
        self.events.append((self.now, namespace, kind.plural, kind_of_event, deepcopy(content)))
        if len(self.events) > KEPT_EVENTS:
            self.compacted = self.events.pop(0)[0]
        self.lock.notify_all()

    def compact(self) -> None:
        """Forget the past: watches and lists that want it are told 410."""
        with self.lock:
            self.compacted = self.now
            self.events.clear()
            self.pages.clear()

    def watch(self, asked: Asked) -> Iterator[Any]:
        """Events since a revision, until ``timeoutSeconds`` are over; bookmarks between where asked for."""
        _, _, tail = asked.path.partition("/namespaces/")
        namespace, _, plural = tail.partition("/")
        seen = int(asked.query.get("resourceVersion") or self.now)
        end = time.monotonic() + float(asked.query.get("timeoutSeconds", 30))
        if seen < self.compacted:
            failure = Failure(410, "Expired", f"too old resource version: {seen} ({self.compacted})")
            yield {"type": "ERROR", "object": status(failure)}
            return
        while (left := end - time.monotonic()) > 0:
            with self.lock:
                new = [event for event in self.events if event[0] > seen]
                if not new:
                    self.lock.wait(min(left, 0.2))
                    new = [event for event in self.events if event[0] > seen]
            for revision, where, kind, kind_of_event, content in new:
                seen = revision
                if (where, kind) == (namespace, plural):
                    yield {"type": kind_of_event, "object": _as_asked(content, asked.accept)}
            if not new and asked.query.get("allowWatchBookmarks") == "true":
                kind_name = self.kinds[plural].kind
                yield {
                    "type": "BOOKMARK",
                    "object": {"kind": kind_name, "metadata": {"resourceVersion": str(seen)}},
                }


def status(failure: Failure) -> Any:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": str(failure),
        "reason": failure.reason,
        "code": failure.code,
    }


def _as_asked(content: Any, accept: str) -> Any:
    """Metadata only, where that was asked for."""
    if not METADATA.fullmatch(accept):
        return deepcopy(content)
    if "items" in content:
        return {**content, "items": [_as_asked(item, accept) for item in content["items"]]}
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


def _check_metadata(metadata: Any) -> None:
    name = metadata.get("name", "")
    faults = []
    if not NAME.fullmatch(name) or len(name) > 253:
        faults.append(f'metadata.name: Invalid value: "{name}"')
    for value in (metadata.get("labels") or {}).values():
        if not LABEL.fullmatch(value) or len(value) > 63:
            faults.append(f'metadata.labels: Invalid value: "{value}"')
    annotations = metadata.get("annotations") or {}
    if any(not isinstance(value, str) for value in annotations.values()):
        raise Failure(400, "BadRequest", "annotations have to be strings")
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        faults.append("metadata.annotations: Too long: may not be more than 262144 bytes")
    if faults:
        raise Failure(422, "Invalid", f'"{name}" is invalid: {"; ".join(faults)}')


# ------------------------------------------------------------------ schemas

TYPES = {"string": str, "integer": int, "object": dict, "array": list}
KNOWN = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "description",
    "pattern",
    "maxLength",
    "minimum",
    "maximum",
    "format",
    "x-kubernetes-int-or-string",
}


def invalid(value: Any, schema: Any, path: str) -> Iterator[str]:
    """What a value violates of a structural schema. Fields that the schema does not have are removed."""
    unknown = set(schema) - KNOWN
    assert not unknown, f"the double does not know {unknown} in a schema"
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{path}: it has to be a number or a string"
        return
    expected = TYPES[schema["type"]]
    if not isinstance(value, expected) or isinstance(value, bool):
        yield f"{path} in body must be of type {schema['type']}"
    elif isinstance(value, dict):
        yield from _invalid_object(value, schema, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from invalid(item, schema["items"], f"{path}[{index}]")
    else:
        yield from _invalid_scalar(value, schema, path)


def _invalid_object(value: dict[str, Any], schema: Any, path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: Required value"
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in list(value):
        if name in ("metadata", "apiVersion", "kind") and not path:
            continue
        if value[name] is None:
            del value[name]
        elif name in properties:
            yield from invalid(value[name], properties[name], f"{path}.{name}".lstrip("."))
        elif others is not None:
            yield from invalid(value[name], others, f"{path}.{name}".lstrip("."))
        else:
            del value[name]


def _invalid_scalar(value: Any, schema: Any, path: str) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path} in body should match '{schema['pattern']}'"
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield f"{path}: Too long: may not be more than {schema['maxLength']} bytes"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path} in body should be between {schema['minimum']} and {schema['maximum']}"
    if schema.get("format") == "byte":
        try:
            b64decode(value, validate=True)
        except (Base64Error, ValueError):
            yield f"{path} in body must be of type byte"


# ------------------------------------------------------------------ patches


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


def json_patched(target: Any, operations: Any) -> Any:
    """RFC 6902, as far as it is used, with the API server's answer to a test that fails."""
    for operation in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        place = target
        for part in parents:
            place = place.get(part) if isinstance(place, dict) else None
        match operation["op"]:
            case "test":
                if (place or {}).get(last) != operation["value"]:
                    raise Failure(422, "Invalid", TESTS_FAILED)
            case "add" | "replace" | "remove" if place is None or (
                operation["op"] != "add" and last not in place
            ):
                raise Failure(422, "Invalid", TESTS_FAILED)
            case "add" | "replace":
                place[last] = operation["value"]
            case "remove":
                del place[last]
            case other:
                raise Failure(501, "NotImplemented", f"the double does not know {other}")
    return target


# --------------------------------------------------------------------- HTTP


def _handler(double: ApiDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            text = self.rfile.read(length)
            url = urlsplit(self.path)
            asked = Asked(
                self.command,
                url.path,
                dict(parse_qsl(url.query)),
                self.headers.get("Content-Type", ""),
                self.headers.get("Accept", ""),
                self.headers.get("Authorization", "").removeprefix("Bearer "),
                json.loads(text) if text else None,
            )
            double.asked.append(asked)
            fault = double.fault(asked)
            if fault is not None and not fault.after:
                self._fail(fault)
                return
            if asked.query.get("watch"):
                self._stream(double.watch(asked))
                return
            try:
                code, content = double.answer(asked)
                headers: dict[str, str] = {}
            except Failure as failure:
                code, content, headers = failure.code, status(failure), failure.headers
            if fault is not None:
                self._fail(fault)
            else:
                self._send(code, content, headers)

        def _fail(self, fault: Fault) -> None:
            time.sleep(fault.seconds)
            if fault.code == 0:
                self.close_connection = True
                self.connection.close()
                return
            failure = Failure(fault.code, "Injected", "a fault that the test asked for")
            self._send(
                fault.code, status(failure), {"Retry-After": fault.retry_after} if fault.retry_after else {}
            )

        def _send(self, code: int, content: Any, headers: dict[str, str]) -> None:
            unknown = content.get("message") == UNKNOWN_PATH
            body = f"{UNKNOWN_PATH}\n".encode() if unknown else json.dumps(content).encode()
            self.send_response_only(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def _stream(self, events: Iterator[Any]) -> None:
            self.send_response_only(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for event in events:
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    return Handler


@contextmanager
def api_double() -> Iterator[ApiDouble]:
    """A double for the time of a test."""
    double = ApiDouble()
    try:
        yield double
    finally:
        double.stop()
