"""The double answers a watch as a real API server does; everything else is proved by the store's tests."""

import http.client
import json
import ssl
from typing import Any
from urllib.parse import urlencode, urlsplit

from .api_double import ApiDouble
from .api_server import ADMIN, resources
from .cluster_servers import Server

METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def watch(server: Server, path: str, accept: str = "application/json", **query: str) -> list[Any]:
    """The events of a watch that lasts a second."""
    url = urlsplit(server.server)
    context = ssl.create_default_context(cafile=server.authority) if server.authority else None
    connection = (
        http.client.HTTPSConnection(url.netloc, timeout=20, context=context)
        if context
        else http.client.HTTPConnection(url.netloc, timeout=20)
    )
    query = {"watch": "1", "timeoutSeconds": "1", **query}
    headers = {"Authorization": f"Bearer {ADMIN}", "Accept": accept}
    connection.request("GET", f"{path}?{urlencode(query)}", headers=headers)
    lines = connection.getresponse().read().splitlines()
    connection.close()
    return [json.loads(line) for line in lines]


def reservation(name: str, podref: str) -> dict[str, Any]:
    return {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "OverlappingRangeIPReservation",
        "metadata": {"name": name},
        "spec": {"podref": podref},
    }


def test_a_watch_tells_what_happened_since_a_revision(server: Server) -> None:
    path = resources(server.namespace(), "overlappingrangeipreservations")
    server.call("POST", path, reservation("a", "x/1"))
    revision = server.call("GET", path).body["metadata"]["resourceVersion"]
    server.call("POST", path, reservation("b", "x/2"))
    server.call("PATCH", f"{path}/a", {"spec": {"podref": "x/3"}}, "application/merge-patch+json")
    server.call("DELETE", f"{path}/b")
    events = watch(server, path, resourceVersion=revision)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [
        ("ADDED", "b"),
        ("MODIFIED", "a"),
        ("DELETED", "b"),
    ]
    assert events[1]["object"]["spec"] == {"podref": "x/3"}
    (first, *_) = watch(server, path, METADATA, resourceVersion=revision)
    assert first["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in first["object"]


def test_a_watch_that_asks_for_bookmarks_gets_one(server: Server) -> None:
    path = resources(server.namespace(), "overlappingrangeipreservations")
    revision = server.call("GET", path).body["metadata"]["resourceVersion"]
    server.call("POST", path, reservation("a", "x/1"))
    events = watch(server, path, resourceVersion=revision, allowWatchBookmarks="true", timeoutSeconds="3")
    assert events[0]["type"] == "ADDED"
    if isinstance(server, ApiDouble):  # a real server sends them about once a minute, or just before the end
        assert events[-1]["type"] == "BOOKMARK"
        assert int(events[-1]["object"]["metadata"]["resourceVersion"]) > int(revision)


def test_a_watch_from_a_revision_that_was_compacted_is_told_410(server: Server) -> None:
    path = resources(server.namespace(), "overlappingrangeipreservations")
    if isinstance(server, ApiDouble):
        server.call("POST", path, reservation("a", "x/1"))
        server.compact()
    (event,) = watch(server, path, resourceVersion="1")
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
