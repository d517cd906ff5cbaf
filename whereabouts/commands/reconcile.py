"""``whereabouts reconcile``: freeing what attachments left that are not on a list of those that there are."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from whereabouts.addresses import text_of
from whereabouts.allocator import Allocator
from whereabouts.collect import Collected, CollectFailed, Listing, collect
from whereabouts.commands import arguments, datastore, formats
from whereabouts.commands.attachment_list import GRACE_SECONDS, add_grace_option, read_attachment_list
from whereabouts.commands.evidence import asked_api
from whereabouts.commands.reconcile_now import WAIT_SECONDS, reconcile_now
from whereabouts.commit import DirectCommitter
from whereabouts.config import ConfigError, node_name
from whereabouts.config.host_files import HostFiles
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.log import Log, to_stderr
from whereabouts.overview import Content, allocations_as_json
from whereabouts.store import Store

OF_NOW: Mapping[str, object] = {"cluster": None, "sole_cluster": False, "wait": WAIT_SECONDS}
"""Options that say something of ``--now`` only, and their defaults."""
OF_A_LIST: Mapping[str, object] = {
    "node": None,
    "all_nodes": False,
    "network": None,
    "grace": GRACE_SECONDS,
    "allow_empty": False,
    "dry_run": False,
}
"""Options that say something of a list only."""
DONE, NOT_DONE, WRONG_USE = range(3)
"""Exit statuses: all that was to be freed is; something could not be looked at; wrong use."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "reconcile",
        help="free the addresses that nobody needs any more",
        description="With --now does what the controller does, once: looks for addresses of dead pods, looks "
        "again after some seconds, and frees them. With --valid-attachments, for hosts without a controller "
        "(embedded store, etcd), frees the addresses of a node whose attachment is not on the list, JSON "
        "in the form that container runtimes give GC: "
        '[{"containerID": "...", "ifname": "..."}], or an object with cni.dev/valid-attachments. '
        "Exit status: 0 done; 1 something could not be looked at; 2 wrong use, and nothing was freed.",
    )
    datastore.add_options(parser)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--now", action="store_true", help="ask the cluster which pods live")
    what.add_argument("--valid-attachments", metavar="FILE", help="the list; - reads standard input")
    add("--cluster", metavar="KUBECONFIG", help="with --now: where the pods are (default: the datastore)")
    datastore.add_sole_cluster(parser)
    add(
        "--wait",
        metavar="SECONDS",
        type=arguments.seconds,
        default=WAIT_SECONDS,
        help="with --now: for how long to wait for second looks (default: %(default)g)",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--node", metavar="NAME", help="whose addresses (default: this node's)")
    whose.add_argument("--all-nodes", action="store_true", help="the list is of all nodes")
    add("--network", metavar="NAME", help="the list is of this CNI network only (its name, as in a conflist)")
    add_grace_option(parser)
    add("--allow-empty", action="store_true", help="take an empty list at its word, and free everything")
    add("--dry-run", action="store_true", help="say what would be freed")
    formats.add_option(parser, ("text", "json"))
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Free what nobody needs, and tell."""
    way, others = ("--now", OF_A_LIST) if chosen.now else ("--valid-attachments", OF_NOW)
    given = [name for name, default in others.items() if getattr(chosen, name) != default]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        formats.complain(f"{options}: that has no meaning with {way}")
        return WRONG_USE
    return _now(chosen) if chosen.now else _by_list(chosen)


def _now(chosen: argparse.Namespace) -> int:
    """Ask the cluster, twice, and free what dead pods left."""
    config = datastore.configured(chosen)
    if config.datastore != "kubernetes" and chosen.cluster is not None:
        datastore.require_sole_cluster(chosen, config)
    log = Log("error", to_stderr)
    with datastore.opened(chosen) as store, asked_api(chosen, config, store) as api:
        if api is None:
            formats.complain("--now: nobody here knows which pods live; name their cluster with --cluster")
            return WRONG_USE
        from whereabouts.cluster.reading import KubernetesCluster

        freed, look, failures = reconcile_now(store, KubernetesCluster(api), log, chosen.wait)
    _tell([Collected(one.space, one.address, one.owner) for one in freed], chosen)
    for failure in failures:
        formats.complain(failure)
    if look.suspects:
        formats.complain(f"{look.suspects} more may be nobody's, and that takes longer to be sure")
    return NOT_DONE if failures else DONE


def _by_list(chosen: argparse.Namespace) -> int:
    """Read the list, free what it does not have, tell."""
    try:
        listing = _listing(chosen)
    except ConfigError as error:
        formats.complain(str(error))
        return WRONG_USE
    with datastore.opened(chosen) as store:
        freed, failure = _collect(store, listing, dry_run=chosen.dry_run)
        _tell(freed, chosen)
        if failure is not None:
            formats.complain(str(failure))
        left, _ = _collect(store, listing._replace(until=None), dry_run=True)
    kept = sum(not listing.misses(one.owner) for one in left)
    if kept:
        formats.complain(
            f"kept: {kept} more that are not on the list; they were given less than {chosen.grace:g} s "
            "before it was made (--grace)"
        )
    return DONE if failure is None else NOT_DONE


def _collect(
    store: Store, listing: Listing, *, dry_run: bool
) -> tuple[Sequence[Collected], CollectFailed | None]:
    """What is freed, and what went wrong."""
    allocator = Allocator(store, DirectCommitter(store), Log("error", to_stderr))
    try:
        return collect(store, allocator, listing, Deadline.none(), dry_run=dry_run), None
    except CollectFailed as failure:
        return failure.freed, failure


def _listing(chosen: argparse.Namespace) -> Listing:
    listed = read_attachment_list(chosen.valid_attachments, network=chosen.network, allow_empty=True)
    if not listed.valid and not chosen.allow_empty:
        raise ConfigError(
            f"--valid-attachments {chosen.valid_attachments}: the list is empty, and would free everything: "
            "give --allow-empty if that is meant"
        )
    node = chosen.node
    if node is None and not chosen.all_nodes:
        node = node_name(os.environ, HostFiles(), datastore.configured(chosen))
    elif node == "":
        raise ConfigError("--node: a name is expected")
    return listed.listing(node, chosen.grace)


def _tell(freed: Sequence[Collected], chosen: argparse.Namespace) -> None:
    if chosen.output == "json":
        told = allocations_as_json(Content([], [Record(*one) for one in freed]))
        print(formats.document({"dry_run": chosen.dry_run, "freed": told["allocations"]}, "json"))
        return
    done = "would be freed" if chosen.dry_run else "freed"
    formats.print_lines(
        f"{text_of(address)}: {done}; pod {owner.pod_ref or '-'}, container {owner.container_id}, "
        f"interface {owner.ifname or '-'}, node {owner.node or '-'}, network {owner.network or '-'}"
        for _, address, owner in freed
    )
