"""``whereabouts migrate``: taking over what a Go plugin recorded, and giving it back."""

from __future__ import annotations

import argparse
from time import time

from whereabouts.commands import datastore, formats
from whereabouts.commands.evidence import of_kubernetes
from whereabouts.commands.tables import printable
from whereabouts.commit import DirectCommitter
from whereabouts.config import Config, ConfigError
from whereabouts.deadline import Deadline
from whereabouts.log import Log, to_stderr
from whereabouts.values import TYPE_CHECKING

if TYPE_CHECKING:
    from whereabouts.stores.kubernetes import KubernetesStore


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "migrate",
        help="take over what a Go plugin recorded, or give it back",
        description="Takes over what a Go plugin recorded, or gives it back. "
        "It may be stopped at any point and run again.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--to",
        choices=("blocks", "upstream"),
        help="all pools of a cluster: into blocks, or as the Go plugin writes them",
    )
    what.add_argument(
        "--repair-reservations",
        action="store_true",
        help="delete OverlappingRangeIPReservations of addresses that nobody holds",
    )
    what.add_argument(
        "--from-etcd-v0",
        action="store_true",
        help="the lists that the Go plugin kept in etcd up to its version 0.5",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done (not for etcd)")
    datastore.add_options(parser)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Migrate; 1 if something had to be left where it is."""
    config = datastore.configured(chosen)
    if chosen.from_etcd_v0:
        if chosen.dry_run:
            raise ConfigError("--from-etcd-v0 has no --dry-run")
        return _from_etcd_v0(config, chosen)
    if config.datastore != "kubernetes":
        raise ConfigError(f"the datastore is {config.datastore}, but this needs one that is kubernetes")
    with datastore.opened(chosen) as store:
        if chosen.repair_reservations:
            return _repair_reservations(of_kubernetes(store), chosen.dry_run)
        return _move(of_kubernetes(store), chosen.to, chosen.dry_run)


def _move(store: KubernetesStore, to: str, dry_run: bool) -> int:
    from whereabouts.stores.kube_migration import to_blocks, to_upstream
    from whereabouts.stores.kube_status import write_status

    problems = 0
    for moved in (to_blocks if to == "blocks" else to_upstream)(store, Deadline.none(), dry_run=dry_run):
        left = f"; {moved.problem}" if moved.problem else ""
        done = "would move" if dry_run else "moved"
        print(printable(f"{moved.pool}: {moved.allocations} allocations {done}{left}"), flush=True)
        problems += bool(moved.problem)
    if to == "blocks" and not dry_run:
        write_status(store, None, Deadline.none())
    return 1 if problems else 0


def _repair_reservations(store: KubernetesStore, dry_run: bool) -> int:
    from whereabouts.stores.kube_migration import repair_reservations

    for name in repair_reservations(store, Deadline.none(), dry_run=dry_run):
        print(f"{name}: {'would be deleted' if dry_run else 'deleted'}")
    return 0


def _from_etcd_v0(config: Config, chosen: argparse.Namespace) -> int:
    if config.etcd is None:
        raise ConfigError(f"the datastore is {config.datastore}, but --from-etcd-v0 needs one with etcd_host")
    from whereabouts.stores.etcd import EtcdStore
    from whereabouts.stores.etcd_v0 import OldLists, take_over

    with datastore.opened(chosen) as store:
        assert isinstance(store, EtcdStore)  # noqa: S101  # follows from config.etcd
        lists, log = OldLists(store.connection), Log("verbose", to_stderr)
        taken = take_over(lists, store, DirectCommitter(store), int(time()), log, Deadline.none())
    print(f"{taken.ranges} ranges taken over; addresses: {taken.new} new, {taken.known} recorded before")
    for fault in taken.faults:
        formats.complain(f"left as it is: {fault}")
    return 1 if taken.faults else 0
