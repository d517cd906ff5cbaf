"""From a configuration to its open store. Only the client of the store that is asked for is imported."""

from __future__ import annotations

from whereabouts.config import Config, ConfigError, EtcdConfig
from whereabouts.deadline import Deadline
from whereabouts.store import Store


def open_store(config: Config, deadline: Deadline) -> Store:
    """Open the datastore that a configuration names.

    Raises :class:`~whereabouts.store.StoreError`, :class:`~whereabouts.config.ConfigError` or
    :class:`~whereabouts.deadline.DeadlineExceeded`.
    """
    if config.datastore == "kubernetes":
        from whereabouts.stores.kube_access import beginning_with, from_kubeconfig, read_by
        from whereabouts.stores.kubernetes import KubernetesStore

        source = from_kubeconfig(config.kubeconfig)
        return KubernetesStore(
            beginning_with(read_by(deadline, source), source),
            coexist_with_upstream=config.coexist_with_upstream,
        )
    if config.etcd is not None:
        return _open_etcd(config.etcd)
    from whereabouts.stores.sqlite import SqliteStore

    return SqliteStore(config.local_path, deadline)


def _open_etcd(config: EtcdConfig) -> Store:
    try:
        from whereabouts.stores.etcd import EtcdStore
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"datastore etcd needs {error.name}, which is not installed: pip install 'whereabouts-ipam[etcd]'"
        ) from error
    return EtcdStore(
        config.host,
        prefix=config.prefix,
        username=config.username,
        password=config.password.reveal(),
        ca_cert_file=config.ca_cert_file,
        cert_file=config.cert_file,
        key_file=config.key_file,
    )


def store_name(config: Config) -> str:
    """What people call a datastore: its kind and where it is, without secrets."""
    if config.etcd is not None:
        return f"etcd:{config.etcd.host}{config.etcd.prefix}"
    if config.datastore == "kubernetes":
        return f"kubernetes:{config.kubeconfig}"
    return f"local:{config.local_path}"


def store_identity(config: Config) -> tuple[object, ...]:
    """What tells one datastore from another: configurations with equal identities share one."""
    return (
        config.datastore,
        config.local_path,
        config.kubeconfig,
        config.coexist_with_upstream,
        config.etcd,
    )
