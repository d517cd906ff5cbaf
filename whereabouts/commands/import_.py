"""``whereabouts import``: what was exported, put into a datastore."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import BinaryIO

from whereabouts.commands import datastore, formats
from whereabouts.commands.new_file import FileError
from whereabouts.commands.progress import Progress
from whereabouts.deadline import Deadline
from whereabouts.export_format import LONGEST_LINE, End, ExportError, read_end, read_entries
from whereabouts.transfer import Importer


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "import",
        help="put what was exported into a datastore",
        description="Puts what was exported into a datastore, which may hold something already: what is "
        "there is neither changed nor freed. It may be stopped at any point and run again. The exit status "
        "is 1 where something contradicts what is there, or the file itself does not have everything.",
    )
    datastore.add_options(parser)
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="- is standard input (default)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument(
        "--hold-damaged",
        action="store_true",
        help="record the addresses of blocks that were damaged as held by nobody, so that they are not given",
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Import; 1 if something could not be put in."""
    with _opened(chosen.file) as file:
        try:
            end = read_end(_lines(file))
            file.seek(0)
            return _import(chosen, file, end)
        except ExportError as error:
            name = "standard input" if chosen.file == "-" else chosen.file
            raise ExportError(f"{name}: {error}") from error


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The file to read, twice: what cannot be read twice is kept in a file for that."""
    if path == "-":
        with _kept(sys.stdin.buffer) as kept:
            yield kept
        return
    try:
        file = open(path, "rb")  # noqa: SIM115  # below
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        if file.seekable():
            yield file
        else:
            with _kept(file) as kept:
                yield kept


@contextmanager
def _kept(stream: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(stream, kept)
        kept.seek(0)
        yield kept


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise ExportError(f"a line of it has more than {LONGEST_LINE} bytes")
        yield line


def _import(chosen: argparse.Namespace, file: BinaryIO, end: End) -> int:
    held_at = int(time()) if chosen.hold_damaged else None
    with datastore.opened(chosen, create=not chosen.dry_run) as store, Progress() as progress:
        importer = Importer(store, dry_run=chosen.dry_run, hold_damaged_at=held_at)
        for entry in read_entries(_lines(file)):
            for problem in importer.add(entry, Deadline.none()):
                progress.done()
                formats.complain(problem)
            done = importer.new + importer.known + importer.conflicts
            progress.say(f"{done} of {end.allocations} allocations imported")
    print(_summary(importer, "would be put in" if chosen.dry_run else "put in"))
    return 1 if importer.conflicts or importer.left_out else 0


def _summary(importer: Importer, done: str) -> str:
    slices = f"slices of nodes: {importer.new_slices} {done}, {importer.known_slices} there before; "
    return (
        f"pools: {importer.new_pools} {done}, {importer.known_pools} there before; "
        f"{slices if importer.new_slices or importer.known_slices else ''}"
        f"allocations: {importer.new} {done}, {importer.known} there before; "
        f"{importer.conflicts} contradict what is there"
    )
