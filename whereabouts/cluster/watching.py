"""Following what happens to the objects of one kind, without asking for all of them again and again.

The collection is listed once. From its revision on, changes come over a watch; one that is cut goes on where
it ended, and bookmarks keep that place young while nothing happens. Only where the API server has forgotten
the place (410) is there another list, and what vanished in between is reported like what was seen vanishing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from whereabouts.cluster.forms import Form, Metadata, decoded
from whereabouts.cluster.reading import PAGE
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.errors import WhereaboutsError
from whereabouts.log import SILENT, Log
from whereabouts.store import Unavailable
from whereabouts.stores.kube_api import ApiClient, Expired, Request, Stream
from whereabouts.stores.kube_listing import pages

T = TypeVar("T")

LIST_SECONDS = 300.0
"""How long a list may take."""
OPEN_SECONDS = 10.0
"""How long a watch may take to begin."""
WATCH_SECONDS = 290
"""How long a watch lasts. etcd is compacted every 300 s: a place that is younger is not forgotten."""
SILENCE = 120.0
"""Seconds without a byte, after which a watch counts as cut. Bookmarks come about once a minute."""
SETTLED = 5.0
"""Seconds that a watch has to last for the next one to begin after the shortest pause."""
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0


class Change(NamedTuple, Generic[T]):
    """Something happened to an object."""

    kind: Literal["added", "modified", "deleted"]
    """``modified`` only where what is kept of the object has changed."""
    key: str
    """``namespace/name``, or the name of what is in no namespace."""
    value: T
    """What is kept of the object; of a deleted one, as it was last."""


class Synced(NamedTuple):
    """A list is complete: :meth:`Watch.snapshot` is what there was."""

    objects: int


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Revision(msgspec.Struct):
    resource_version: str = msgspec.field(name="resourceVersion")


class _Bookmark(msgspec.Struct):
    metadata: _Revision


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Known(NamedTuple):
    """What is remembered of an object."""

    uid: int
    """The hash of its UID, which is smaller."""
    packed: Any


class _Stopped(WhereaboutsError):
    """Nobody wants to know any more."""


class Watch(Generic[T]):
    """The objects of a collection as they come, change and go."""

    def __init__(
        self,
        api: ApiClient,
        path: str,
        form: Form[T],
        log: Log = SILENT,
        *,
        revision: str = "",
        silence: float = SILENCE,
    ) -> None:
        """Watch the collection at ``path``; ``form`` reduces an object to what is needed of it.

        With ``revision`` there is no list at first: changes since that revision come, and of those objects
        that do not change nothing is known.
        """
        self._api = api
        self._path = path
        self._form = form
        self._log = log.about(f"watch of {path}")
        self._revision = revision
        self._silence = silence
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._synced = False
        self._stopping = threading.Event()
        self._stream: Stream | None = None
        self._said = ""
        self.lists = 0
        """How many lists were begun."""
        self.cuts = 0
        """How many watches ended otherwise than they should."""

    def changes(self) -> Iterator[Change[T] | Synced]:
        """What happens, until :meth:`stop`; for one thread, which may take its time.

        At first every object that there is comes as added. No failure ends it: what cannot be done is tried
        again after pauses that grow to :data:`LONGEST_PAUSE`, and said in the log.
        """
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            begun: float | None = None
            try:
                if not self._revision:
                    yield from self._list()
                stream = self._open()
                begun = monotonic()
                try:
                    yield from self._follow(stream)
                finally:
                    self._end(stream)
            except _Stopped:
                return
            except Expired:
                self._revision = ""
            except WhereaboutsError as error:
                self._failed(error)
            if begun is not None and monotonic() - begun >= SETTLED:
                pause = FIRST_PAUSE
            try:
                self._deadline(2 * LONGEST_PAUSE).pause(pause / 2, "the next watch", least=pause / 2)
            except _Stopped:
                return
            pause = min(2 * pause, LONGEST_PAUSE)

    def stop(self) -> None:
        """End :meth:`changes` soon, from any thread: its connection is closed."""
        self._stopping.set()
        with self._lock:
            stream = self._stream
        if stream is not None:
            stream.abort()

    def __len__(self) -> int:
        """How many objects are known."""
        return len(self._known)

    def snapshot(self) -> dict[str, T] | None:
        """What is kept of every object, by key, from any thread; None before the first list is complete."""
        with self._lock:
            if not self._synced:
                return None
            return {key: self._form.unpack(key, known.packed) for key, known in self._known.items()}

    # ------------------------------------------------------------------- list

    def _list(self) -> Iterator[Change[T] | Synced]:
        self.lists += 1
        seen: set[str] = set()
        revision = ""
        deadline = self._deadline(LIST_SECONDS)
        for page in pages(self._api, self._path, deadline, limit=PAGE, read=self._form.page):
            if page.first:
                seen.clear()
                revision = page.revision
            if self._stopping.is_set():
                raise _Stopped
            for content in page.items:
                seen.add(content.metadata.key)
                yield from self._seen(content)
        for key in self._known.keys() - seen:
            yield from self._gone(key)
        self._revision = revision
        with self._lock:
            self._synced = True
        yield Synced(len(seen))

    # ------------------------------------------------------------------ watch

    def _open(self) -> Stream:
        query = {
            "watch": "true",
            "resourceVersion": self._revision,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        request = Request("GET", self._path, query=tuple(query.items()))
        stream = self._api.stream(request, self._deadline(OPEN_SECONDS), silence=self._silence)
        with self._lock:
            self._stream = stream
        if self._stopping.is_set():
            stream.abort()
        self._said = ""
        return stream

    def _end(self, stream: Stream) -> None:
        with self._lock:
            self._stream = None
        stream.close()

    def _follow(self, stream: Stream) -> Iterator[Change[T]]:
        for line in stream:
            event = decoded(_Event, line)
            match event.type:
                case "ADDED" | "MODIFIED" | "DELETED":
                    content = self._form.parse(event.object)
                    if event.type == "DELETED":
                        self._remember(content.metadata, self._form.pack(self._form.read(content)))
                        yield from self._gone(content.metadata.key)
                    else:
                        yield from self._seen(content)
                    self._revision = content.metadata.resource_version
                case "BOOKMARK":
                    self._revision = decoded(_Bookmark, event.object).metadata.resource_version
                case _:
                    status = decoded(_Status, event.object)
                    error = Expired if status.code == 410 else Unavailable
                    raise error(f"the API server ends the watch: {status.message}")

    def _seen(self, content: Any) -> Iterator[Change[T]]:
        metadata, value = content.metadata, self._form.read(content)
        key, packed = metadata.key, self._form.pack(value)
        before = self._known.get(key)
        if before is not None and before.uid != hash(metadata.uid):
            yield from self._gone(key)
            before = None
        if before is None or before.packed != packed:
            self._remember(metadata, packed)
            yield Change("added" if before is None else "modified", key, value)

    def _remember(self, metadata: Metadata, packed: Any) -> None:
        with self._lock:
            self._known[metadata.key] = _Known(hash(metadata.uid), packed)

    def _gone(self, key: str) -> Iterator[Change[T]]:
        with self._lock:
            known = self._known.pop(key)
        yield Change("deleted", key, self._form.unpack(key, known.packed))

    # ---------------------------------------------------------------- failing

    def _failed(self, error: WhereaboutsError) -> None:
        self.cuts += 1
        sentence = str(error)
        if sentence != self._said:
            passing = isinstance(error, (Unavailable, DeadlineExceeded))
            (self._log.verbose if passing else self._log.error)(sentence)
        self._said = sentence

    def _deadline(self, seconds: float) -> Deadline:
        return Deadline(seconds, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise _Stopped
