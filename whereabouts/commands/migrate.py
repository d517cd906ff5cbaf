"""``whereabouts migrate``: taking over what a Go plugin recorded."""

from __future__ import annotations

import argparse
import sys
from time import time

from whereabouts.commands import datastore
from whereabouts.commit import DirectCommitter
from whereabouts.config import ConfigError
from whereabouts.deadline import Deadline
from whereabouts.log import Log, to_stderr


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "migrate",
        help="take over what a Go plugin recorded",
        description="Takes over what a Go plugin recorded. It may be stopped at any point and run again.",
    )
    parser.add_argument(
        "--from-etcd-v0",
        action="store_true",
        required=True,
        help="the lists that the Go plugin kept in etcd up to its version 0.5",
    )
    parser.add_argument("--config", metavar="FILE", help="a whereabouts.conf that names the etcd cluster")
    parser.set_defaults(run=run, local=None)


def run(chosen: argparse.Namespace) -> int:
    """Take the lists over; 1 if something had to be left where it is."""
    config = datastore.configured(chosen)
    if config.etcd is None:
        raise ConfigError(
            f"the datastore is {config.datastore}: --from-etcd-v0 needs a configuration with etcd_host"
        )
    from whereabouts.stores.etcd import EtcdStore
    from whereabouts.stores.etcd_v0 import OldLists, take_over

    with datastore.opened(config) as store:
        assert isinstance(store, EtcdStore)  # noqa: S101  # follows from config.etcd
        taken = take_over(
            OldLists(store.connection),
            store,
            DirectCommitter(store),
            int(time()),
            Log("verbose", to_stderr),
            Deadline.none(),
        )
    print(f"{taken.ranges} ranges taken over; addresses: {taken.new} new, {taken.known} recorded before")
    for fault in taken.faults:
        sys.stderr.write(f"whereabouts: left as it is: {fault}\n")
    return 1 if taken.faults else 0
