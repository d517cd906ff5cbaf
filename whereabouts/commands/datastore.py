"""Which datastore a command works on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager

from whereabouts.config import Config, load
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


def configured(chosen: argparse.Namespace) -> Config:
    """The configuration that the options lead to; without any, what a network configuration would use."""
    ipam: dict[str, object] = {"type": "whereabouts"}
    if chosen.local:
        ipam |= {"datastore": "local", "local": {"path": chosen.local}}
    if chosen.config:
        if not os.path.exists(chosen.config):
            raise Unavailable(f"{chosen.config} does not exist")
        ipam["configuration_path"] = chosen.config
    return load({"ipam": ipam}, network="", files=HostFiles())


@contextmanager
def opened(config: Config) -> Iterator[Store]:
    """The datastore, which is not created: Unavailable where there is none."""
    if config.datastore == "local" and not os.path.exists(config.local_path):
        raise Unavailable(f"{config.local_path} does not exist: no embedded store gave an address there")
    store = open_store(config, Deadline(OPENING_SECONDS))
    try:
        yield store
    finally:
        store.close()
