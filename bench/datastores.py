"""The datastores that calls are measured on, with the floors and the peers of each.

SQLite and etcd have their files on a disk. The API server is that of the tests: its etcd is in memory, and
the bare PUT of the same server is what calls are to be compared with.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import peers
from bench.floors import BarePut, BareSqlite, BareTransaction, Fsync, block_of
from bench.peers import Peer
from bench.turns import Run
from tests.api_server import ADMIN, ApiServer, api_server, kubeconfig
from tests.cni_calls import Runtime
from tests.etcd_server import EtcdServer, cluster
from tests.store_contract import SOON
from tests.suites import SUITES
from whereabouts.deadline import Deadline
from whereabouts.store import Store
from whereabouts.stores.etcd import EtcdStore
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.sqlite import SqliteStore

SQLITE, ETCD, KUBERNETES = "SQLite", "etcd", "Kubernetes"
NAMES = (SQLITE, ETCD, KUBERNETES)
_SUITES = {ETCD: "etcd", KUBERNETES: "apiserver"}
_places = count()


class Place:
    """Where records are kept that nobody else has to do with."""

    def __init__(self, directory: Path, ipam: Mapping[str, Any]) -> None:
        """Files go to ``directory``; a configuration with ``ipam`` has its records here."""
        self.directory = directory
        self.ipam = ipam
        self.kubeconfig = ""

    def open(self) -> Any:
        """Open the store."""
        raise NotImplementedError

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store, open."""
        store: Store = self.open()
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def floors(self, used: int) -> Iterator[Mapping[str, Run]]:
        """What a write of a block with so many addresses cannot be faster than."""
        raise NotImplementedError

    def runtime(self, program: Path, range_: str, **ipam: object) -> Runtime:
        """A runtime of one of our programs."""
        return Runtime(program, {**self.ipam, "range": range_, "log_level": "error", **ipam})

    def runtime_of(self, peer: Peer, range_: str) -> Runtime:
        """A runtime of another plugin."""
        ipam = peer.ipam(range_, str(self.directory / "records"), self.kubeconfig)
        return Runtime(Path(peer.program), ipam)


class SqlitePlace(Place):
    """A file."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, {"local": {"path": str(directory / "w.db")}})

    def open(self) -> SqliteStore:
        return SqliteStore(str(self.directory / "w.db"), Deadline(SOON))

    @contextmanager
    def floors(self, used: int) -> Iterator[Mapping[str, Run]]:
        fsync, bare = Fsync(self.directory), BareSqlite(self.directory, block_of(used))
        yield {"fsync": fsync, "bare transaction": bare}
        fsync.close()
        bare.close()


class EtcdPlace(Place):
    """A prefix of the keys."""

    def __init__(self, server: EtcdServer, directory: Path) -> None:
        prefix = f"/bench-{next(_places)}/"
        super().__init__(directory, {"etcd_host": server.host, "etcd_prefix": prefix})

    def open(self) -> EtcdStore:
        return EtcdStore(self.ipam["etcd_host"], prefix=self.ipam["etcd_prefix"])

    @contextmanager
    def floors(self, used: int) -> Iterator[Mapping[str, Run]]:
        fsync, store = Fsync(self.directory), self.open()
        yield {"fsync": fsync, "bare transaction": BareTransaction(store, block_of(used))}
        fsync.close()
        store.close()


class KubernetesPlace(Place):
    """A namespace."""

    def __init__(self, server: ApiServer, directory: Path) -> None:
        path = directory / "kubeconfig"
        written = kubeconfig(path, server.server, server.namespace(), ADMIN, server.authority)
        super().__init__(directory, {"datastore": "kubernetes", "kubernetes": {"kubeconfig": written}})
        self.kubeconfig = written

    def open(self) -> KubernetesStore:
        return KubernetesStore(from_kubeconfig(self.kubeconfig))

    @contextmanager
    def floors(self, used: int) -> Iterator[Mapping[str, Run]]:
        store = self.open()
        yield {"bare PUT": BarePut(store, block_of(used))}
        store.close()


class Datastore(NamedTuple):
    """One that runs."""

    name: str
    make: Callable[[Path], Place]
    peers: list[Peer]
    """Plugins that keep their records in one like it, or, on one machine, in files."""

    def place(self, directory: Path) -> Place:
        """A new place, whose files lie in a new directory."""
        directory.mkdir(parents=True)
        return self.make(directory)


@contextmanager
def datastore(name: str) -> Iterator[Datastore]:
    """One of :data:`NAMES`, with a server if it needs one. Skips the test where that is missing."""
    missing = SUITES[_SUITES[name]].missing() if name in _SUITES else None
    if missing:
        pytest.skip(missing)
    if name == SQLITE:
        yield Datastore(name, SqlitePlace, peers.on_one_machine())
    elif name == ETCD:
        with cluster(on_disk=True) as (server,):
            yield Datastore(name, partial(EtcdPlace, server), [])
    else:
        yield Datastore(name, partial(KubernetesPlace, api_server()), peers.on_api_server())
