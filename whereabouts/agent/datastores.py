"""The datastores that the agent's calls use, kept open from call to call."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from threading import Lock
from typing import NamedTuple

from whereabouts.agent.group_commit import GroupCommitter, Groups
from whereabouts.agent.metrics import MeasuredStore, Metrics
from whereabouts.commit import Committer, DirectCommitter
from whereabouts.config import Config
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.store import Store
from whereabouts.stores.opening import open_store, store_identity, store_name
from whereabouts.usage import RangeUse, range_uses

MOST = 64
"""Datastores that are kept open. A tenant may name one (``etcd_host``), so their number has an end."""
_BESIDE = ("-wal", "-shm")
"""What the names of the files beside an open database end in."""
USAGE_SECONDS = 5.0
"""How long counting the addresses of all datastores may take."""


class _Connection(NamedTuple):
    """An open store, and the file that it had opened if it is the embedded one."""

    store: Store
    file: tuple[int, int] | None


class _Datastore:
    """One datastore: its open connections, and the changes that wait to be written there."""

    def __init__(self, config: Config, metrics: Metrics) -> None:
        self.config = config
        self.users = 0
        self._metrics = metrics
        self._groups = Groups(metrics.group_size.observe)
        self._opening = Lock()
        self._idle: LifoQueue[_Connection] = LifoQueue()
        self._shared: Store | None = None

    @contextmanager
    def connection(self, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        """A connection for one call; one that several threads can share is shared."""
        taken = self._take(deadline) if self._shared is None else _Connection(self._shared, None)
        store = taken.store
        try:
            yield store, GroupCommitter(self._groups, DirectCommitter(store))
        finally:
            if store is not self._shared:
                self._idle.put(taken)

    def _take(self, deadline: Deadline) -> _Connection:
        while (kept := self._kept()) is not None:
            if kept.file == self._file():
                return kept
            kept.store.close()  # what is written to a file that was replaced, nobody else will find
        deadline.wait_for(
            lambda seconds: self._opening.acquire(timeout=seconds), "another call is opening the datastore"
        )
        try:
            if self._shared is not None:
                return _Connection(self._shared, None)
            opened = self._open(deadline)
            if opened.store.concurrent:
                self._shared = opened.store
            return opened
        finally:
            self._opening.release()

    def _open(self, deadline: Deadline) -> _Connection:
        """A new connection. An embedded store's file may be made or replaced meanwhile: then another one."""
        while True:
            file = self._file()
            store = MeasuredStore(open_store(self.config, deadline), self._metrics)
            if self.config.datastore != "local" or (file is not None and file == self._file()):
                return _Connection(store, file)
            store.close()
            deadline.remaining(f"{self.config.local_path} is replaced by others all the time")

    def _kept(self) -> _Connection | None:
        """A connection that nobody uses, if there is one."""
        try:
            return self._idle.get_nowait()
        except Empty:
            return None

    def _file(self) -> tuple[int, int] | None:
        """The embedded store's file; None where there is none."""
        return _identity(self.config.local_path) if self.config.datastore == "local" else None

    def has_open(self, key: str, file: tuple[int, int]) -> bool:
        """See :meth:`Datastores.has_open`."""
        if self.config.datastore != "local":
            return False
        path = self.config.local_path
        held = [f"{path}{end}" for end in _BESIDE] + ([] if key == "local.path" else [path])
        return file in map(_identity, held)

    def given_twice(self) -> int:
        """Addresses that a Go plugin gave as well; only a store that is shared can tell."""
        return 0 if self._shared is None else len(self._shared.given_twice)

    def close(self) -> None:
        """Close every connection that is not in use."""
        if self._shared is not None:
            self._shared.close()
        while (kept := self._kept()) is not None:
            kept.store.close()


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Datastores:
    """All datastores in use, the last used ones last."""

    def __init__(self, metrics: Metrics) -> None:
        """None yet; their requests are counted in ``metrics``."""
        self._metrics = metrics
        self._lock = Lock()
        self._open: OrderedDict[tuple[object, ...], _Datastore] = OrderedDict()

    @contextmanager
    def use(self, config: Config, deadline: Deadline) -> Iterator[tuple[Store, Committer]]:
        """The store of a configuration, and what carries changes into it, for the time of a call."""
        datastore, unused = self._enter(config)
        try:
            if unused is not None:
                unused.close()
            with datastore.connection(deadline) as connection:
                yield connection
        finally:
            with self._lock:
                datastore.users -= 1

    def _enter(self, config: Config) -> tuple[_Datastore, _Datastore | None]:
        """The datastore, and the one that has to make room for it."""
        identity = store_identity(config)
        unused = None
        with self._lock:
            if identity not in self._open:
                if len(self._open) >= MOST:
                    unused = self._remove_unused()
                self._open[identity] = _Datastore(config, self._metrics)
            self._open.move_to_end(identity)
            datastore = self._open[identity]
            datastore.users += 1
        return datastore, unused

    def _remove_unused(self) -> _Datastore | None:
        for identity, datastore in self._open.items():
            if datastore.users == 0:
                return self._open.pop(identity)
        return None

    def has_open(self, key: str, path: str) -> bool:
        """Whether a configuration must not name ``path`` with ``key``: an embedded datastore has it open.

        With ``local.path`` the database itself may be named, and is shared.
        """
        file = _identity(path)
        if file is None:
            return False
        with self._lock:
            opened = list(self._open.values())
        return any(datastore.has_open(key, file) for datastore in opened)

    def usage(self) -> dict[str, list[RangeUse]]:
        """Addresses by range, for each datastore; what cannot be read in time is left out.

        So is Kubernetes, where the controller counts once what all agents would see.
        """
        rows: dict[str, list[RangeUse]] = {}
        deadline = Deadline(USAGE_SECONDS)
        with self._lock:  # held open, but not used by a call: their order stays
            counted = [one for one in reversed(self._open.values()) if one.config.datastore != "kubernetes"]
            for datastore in counted:
                datastore.users += 1
        try:
            for datastore in counted:
                with suppress(WhereaboutsError), datastore.connection(deadline) as (store, _):
                    rows[store_name(datastore.config)] = range_uses(store, deadline)
        finally:
            with self._lock:
                for datastore in counted:
                    datastore.users -= 1
        return rows

    def given_twice(self) -> dict[str, int]:
        """How many addresses each datastore knows to be given twice."""
        with self._lock:
            opened = list(self._open.values())
        return {store_name(datastore.config): datastore.given_twice() for datastore in opened}

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:  # calls that were not over in time may still open others
            opened = list(self._open.values())
        for datastore in opened:
            datastore.close()
