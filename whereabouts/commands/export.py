"""``whereabouts export``: the content of a datastore as a file, for a backup or for another datastore."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from time import time

from whereabouts.block import Block
from whereabouts.commands import datastore, formats
from whereabouts.commands.new_file import replacing
from whereabouts.commands.progress import Progress
from whereabouts.deadline import Deadline
from whereabouts.export_format import Damaged, Entry, Header, LeftOut, Writer
from whereabouts.store import Store
from whereabouts.stores.opening import store_name
from whereabouts.transfer import content_of


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "export",
        help="write everything that a datastore holds to a file",
        description="Writes everything that a datastore holds to a file (JSON Lines), as a backup or for "
        "whereabouts import into another datastore. The exit status is 1 where something could not be read.",
    )
    datastore.add_options(parser)
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="- is standard output (default)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Export; 1 if something is damaged or had to be left out."""
    with datastore.opened(chosen) as store:
        header = Header(store_name(datastore.configured(chosen)), int(time()))
        if chosen.file == "-":
            return _export(store, header, sys.stdout.buffer.write)
        with replacing(chosen.file) as file:
            return _export(store, header, file.write)


def _export(store: Store, header: Header, write: Callable[[bytes], object]) -> int:
    writer, problems, allocations = Writer(write), 0, 0
    with Progress() as progress:
        writer.add(header)
        for entry in _entries(store):
            writer.add(entry)
            if isinstance(entry, Block):
                allocations += len(entry)
                progress.say(f"{allocations} allocations exported")
            elif isinstance(entry, (Damaged, LeftOut)):
                problems += 1
                progress.done()
                formats.complain(_problem(entry))
        writer.finish()
    return 1 if problems else 0


def _entries(store: Store) -> Iterator[Entry]:
    yield from _left_out(store)
    yield from content_of(store, Deadline.none())


def _left_out(store: Store) -> Iterator[LeftOut]:
    """What a Go plugin recorded in a cluster and nobody has taken over."""
    from whereabouts.stores.kubernetes import KubernetesStore

    if isinstance(store, KubernetesStore):
        from whereabouts.stores.kube_migration import to_blocks

        for moved in to_blocks(store, Deadline.none(), dry_run=True):
            reason = f"; {moved.problem}" if moved.problem else ""
            yield LeftOut(
                f"IPPool {moved.pool}",
                f"{moved.allocations} allocations of the Go plugin are in no block yet: "
                f"whereabouts migrate --to blocks takes them over{reason}",
            )


def _problem(entry: Damaged | LeftOut) -> str:
    if isinstance(entry, Damaged):
        return f"{entry.damage}: exported as it stands there, which no import can read"
    return f"left out: {entry.what}: {entry.reason}"
