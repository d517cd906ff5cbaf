"""What commands judge records by beside the datastore: who lives, and what is configured."""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from whereabouts.commands import datastore
from whereabouts.commands.attachment_list import add_grace_option, read_attachment_list
from whereabouts.config import Config, ConfigError, load
from whereabouts.config.host_files import HostFiles
from whereabouts.config.network_config import read_network_config
from whereabouts.deadline import Deadline
from whereabouts.inspection import Witness
from whereabouts.list_witness import ListWitness
from whereabouts.pool import PoolKey
from whereabouts.ranges import Range
from whereabouts.slices import SliceRule
from whereabouts.store import Store

if TYPE_CHECKING:
    from whereabouts.cluster.reading import KubernetesCluster
    from whereabouts.stores.kube_api import ApiClient
    from whereabouts.stores.kubernetes import KubernetesStore

NO_WITNESS = (
    "whether pods still live: name their cluster with --cluster, or give --valid-attachments a runtime's list"
)


class Evidence(NamedTuple):
    """What is known beside the datastore."""

    witness: Witness | None
    cluster: KubernetesCluster | None


def add_witness_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that tell who lives."""
    parser.add_argument(
        "--cluster",
        metavar="KUBECONFIG",
        help="ask this cluster which pods live (default: the cluster that is the datastore)",
    )
    datastore.add_sole_cluster(parser)
    parser.add_argument(
        "--valid-attachments",
        metavar="FILE",
        help="the attachments that are valid, in JSON, as a runtime gives them to GC: all others are gone; "
        "- reads standard input",
    )
    parser.add_argument(
        "--node", metavar="NODE", help="the node that --valid-attachments speaks of (default: all)"
    )
    add_grace_option(parser)


@contextmanager
def gathered(chosen: argparse.Namespace, config: Config, store: Store) -> Iterator[Evidence]:
    """Who can be asked. Raises ConfigError for options that do not go together, or a list that is none."""
    if chosen.node is not None and chosen.valid_attachments is None:
        raise ConfigError("--node says of which node --valid-attachments speaks, which is not given")
    if chosen.cluster is not None and chosen.valid_attachments is not None:
        raise ConfigError("--cluster and --valid-attachments: give one of them")
    if chosen.cluster is not None and config.datastore != "kubernetes":
        datastore.require_sole_cluster(chosen, config)
    with asked_api(chosen, config, store) as api:
        cluster = None
        if api is not None:
            from whereabouts.cluster.reading import KubernetesCluster

            cluster = KubernetesCluster(api)
        yield Evidence(_witness(chosen, cluster), cluster)


@contextmanager
def asked_api(chosen: argparse.Namespace, config: Config, store: Store) -> Iterator[ApiClient | None]:
    """The cluster that is asked which pods live; None where there is none.

    A datastore in Kubernetes has the addresses of its own cluster's pods: to another, all would look dead.
    """
    if chosen.cluster is not None and config.datastore == "kubernetes":
        raise ConfigError("--cluster: the datastore is a cluster, and its own pods are asked about")
    if chosen.cluster is not None:
        from whereabouts.stores.kube_access import from_kubeconfig
        from whereabouts.stores.kube_api import ApiClient

        api = ApiClient(from_kubeconfig(chosen.cluster))
        try:
            yield api
        finally:
            api.close()
    elif config.datastore == "kubernetes":
        yield of_kubernetes(store).resources.api
    else:
        yield None


def of_kubernetes(store: Store) -> KubernetesStore:
    """The store of a configuration whose datastore is kubernetes."""
    from whereabouts.stores.kubernetes import KubernetesStore

    assert isinstance(store, KubernetesStore)  # noqa: S101  # follows from the configuration
    return store


def _witness(chosen: argparse.Namespace, cluster: KubernetesCluster | None) -> Witness | None:
    if chosen.valid_attachments is not None:
        return ListWitness(read_attachment_list(chosen.valid_attachments).listing(chosen.node, chosen.grace))
    if cluster is None:
        return None
    from whereabouts.cluster_witness import ClusterWitness

    return ClusterWitness(cluster)


# ---------------------------------------------------------------- configurations


class Networks(NamedTuple):
    """The ranges that are known to be configured, by pool, and sentences about what is not known."""

    ranges: dict[PoolKey, list[Range]]
    rules: dict[PoolKey, SliceRule]
    """How they are cut into slices for nodes, where they are."""
    unknown: Sequence[str]


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Add the option that names network configurations."""
    parser.add_argument(
        "--netconf",
        metavar="FILE",
        action="append",
        default=[],
        help="a network configuration that uses the datastore; may be given several times",
    )


def read_netconf(path: str) -> Config:
    """The configuration in a file, a list of plugins or one. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            plugin, network, version = read_network_config(file.read(), "")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return load(plugin, network=network, cni_version=version, files=HostFiles())


def networks(chosen: argparse.Namespace, config: Config, evidence: Evidence, deadline: Deadline) -> Networks:
    """Ranges of the files that were named, and of the cluster's definitions where it is the datastore."""
    configs = [read_netconf(path) for path in chosen.netconf]
    unknown: list[str] = []
    if evidence.cluster is not None and config.datastore == "kubernetes":
        from whereabouts.cluster.networks import DefinitionFiles, read_networks

        found, faults = read_networks(evidence.cluster.attachment_definitions(deadline), DefinitionFiles())
        configs += [network.config for network in found if network.config.datastore == "kubernetes"]
        unknown = [
            f"NetworkAttachmentDefinition {fault.definition} cannot be read ({fault.reason})"
            for fault in faults
        ]
    ranges: dict[PoolKey, list[Range]] = defaultdict(list)
    rules: dict[PoolKey, SliceRule] = {}
    for one in configs:
        for configured in one.ranges:
            key = PoolKey(one.network_name, str(configured.range.network))
            ranges[key].append(configured.range)
            if configured.slices is not None:
                rules[key] = configured.slices
    return Networks(dict(ranges), rules, unknown)
