"""Which datastore a command works on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from whereabouts.config import Config, ConfigError, load
from whereabouts.config.host_files import HostFiles
from whereabouts.deadline import Deadline
from whereabouts.store import Store, Unavailable
from whereabouts.stores.opening import open_store

OPENING_SECONDS = 30.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a datastore."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--config",
        metavar="FILE",
        help="a whereabouts.conf that names the datastore (default: the host's, where there is one)",
    )
    chosen.add_argument("--local", metavar="FILE", help="the file of an embedded store")
    chosen.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="a kubeconfig of the cluster that is the datastore (kubectl whereabouts: as for kubectl)",
    )
    parser.add_argument(
        "--context", default="", metavar="NAME", help="of the kubeconfig (default: its current one)"
    )
    parser.add_argument(
        "-n",
        "--namespace",
        default="",
        metavar="NAMESPACE",
        help="of the custom resources (default: that of the kubeconfig's context, else kube-system)",
    )


def add_sole_cluster(parser: argparse.ArgumentParser) -> None:
    """Add the option without which no cluster is asked about a datastore that others may share."""
    parser.add_argument(
        "--sole-cluster",
        action="store_true",
        help="the datastore is etcd, or a file, and no pods of another cluster have addresses there",
    )


def require_sole_cluster(chosen: argparse.Namespace, config: Config) -> None:
    """Raise ConfigError unless it was said that all records are of one cluster's pods.

    A record does not tell its cluster: those of another one would look as if their pods were gone.
    """
    if not chosen.sole_cluster:
        raise ConfigError(
            f"the datastore is {config.datastore}, which clusters may share, and addresses of others' pods "
            "would look unused: give --sole-cluster if there are none"
        )


def configured(chosen: argparse.Namespace) -> Config:
    """The configuration that the options lead to; without any, what a network configuration would use."""
    ipam: dict[str, object] = {"type": "whereabouts"}
    kubeconfig = chosen.kubeconfig or (os.pathsep.join(_of_kubectl(chosen)))
    if chosen.local:
        ipam |= {"datastore": "local", "local": {"path": chosen.local}}
    elif kubeconfig:
        ipam |= {"datastore": "kubernetes", "kubernetes": {"kubeconfig": kubeconfig}}
    if chosen.config:
        if not os.path.exists(chosen.config):
            raise Unavailable(f"{chosen.config} does not exist")
        ipam["configuration_path"] = chosen.config
    return load({"ipam": ipam}, network="", files=HostFiles())


@contextmanager
def opened(chosen: argparse.Namespace, *, create: bool = False) -> Iterator[Store]:
    """The datastore that the options lead to.

    An embedded store is not created unless that is wanted: Unavailable where there is none.
    """
    config = configured(chosen)
    if not create and config.datastore == "local" and not os.path.exists(config.local_path):
        raise Unavailable(f"{config.local_path} does not exist: no embedded store gave an address there")
    store = _open(config, chosen)
    try:
        yield store
    finally:
        store.close()


def _open(config: Config, chosen: argparse.Namespace) -> Store:
    if config.datastore == "kubernetes":
        return _open_kubernetes(config, chosen)
    for option in ("context", "namespace"):
        if getattr(chosen, option):
            raise ConfigError(
                f"--{option} is for a datastore in Kubernetes, and this one is {config.datastore}"
            )
    return open_store(config, Deadline(OPENING_SECONDS))


def _open_kubernetes(config: Config, chosen: argparse.Namespace) -> Store:
    from whereabouts.stores.kube_access import from_kubeconfig, from_kubeconfigs
    from whereabouts.stores.kubernetes import KubernetesStore

    several = _of_kubectl(chosen)
    source = from_kubeconfigs(several, chosen.context) if several else None
    return KubernetesStore(
        source or from_kubeconfig(config.kubeconfig, chosen.context),
        namespace=chosen.namespace,
        coexist_with_upstream=config.coexist_with_upstream,
    )


def _of_kubectl(chosen: argparse.Namespace) -> list[str]:
    """The files that kubectl would read, where kubectl runs this program and no option says otherwise."""
    if not chosen.kubectl or chosen.config or chosen.local or chosen.kubeconfig:
        return []
    paths = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return paths or [os.path.expanduser("~/.kube/config")]
