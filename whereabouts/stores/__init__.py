"""Where blocks live: one interface, one module a datastore."""

from whereabouts.config import Config
from whereabouts.deadline import Deadline
from whereabouts.store import Store


def open_store(config: Config, deadline: Deadline) -> Store:
    """Open the datastore that a configuration names; only that one's client is imported.

    Raises :class:`~whereabouts.store.StoreError`.
    """
    from whereabouts.stores.sqlite import SqliteStore

    return SqliteStore(config.local_path, deadline)
