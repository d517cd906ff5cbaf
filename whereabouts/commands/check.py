"""``whereabouts check``: everything in a datastore that should not be."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Sequence
from time import time

from whereabouts.commands import datastore, evidence, formats
from whereabouts.commands.new_file import FileError, replacing
from whereabouts.commands.progress import Progress
from whereabouts.commands.tables import printable, table, terminal_width
from whereabouts.config import Config, ConfigError
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.findings import KINDS, Finding, Report
from whereabouts.inspection import Inspector, Surroundings
from whereabouts.store import Store, StoredBlock, StoreError
from whereabouts.stores.opening import store_name

CLEAN, PROBLEMS, WRONG_USE, NOT_READ = range(4)
"""Exit statuses."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "check",
        help="find leaked, doubly recorded and damaged addresses, and whatever else is wrong",
        description="Looks at everything that is recorded, and changes nothing. Exit status: 0 nothing is "
        "wrong, or nothing but what is harmless; 1 problems were found; 2 wrong use; 3 the datastore or the "
        "cluster could not be read.",
    )
    datastore.add_options(parser)
    formats.add_option(parser, ("table", "wide", "json", "yaml"))
    evidence.add_witness_options(parser)
    evidence.add_network_options(parser)
    parser.add_argument(
        "--report", metavar="FILE", help="write the findings there, in JSON: release --from-report takes it"
    )
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Inspect the datastore and print what was found."""
    try:
        report = _inspected(chosen)
        if chosen.report:
            with replacing(chosen.report) as file:
                file.write(json.dumps(report.as_json(), indent=2).encode() + b"\n")
    except (ConfigError, FileError) as error:
        formats.complain(str(error))
        return WRONG_USE
    except (StoreError, DeadlineExceeded) as error:
        formats.complain(str(error))
        return NOT_READ
    if chosen.output in ("json", "yaml"):
        print(formats.document(report.as_json(), chosen.output))
    else:
        print("\n".join(_lines(report, wide=chosen.output == "wide")))
    return PROBLEMS if report.problems else CLEAN


def _inspected(chosen: argparse.Namespace) -> Report:
    deadline = Deadline.none()
    config = datastore.configured(chosen)
    with datastore.opened(chosen) as store, evidence.gathered(chosen, config, store) as known:
        networks = evidence.networks(chosen, config, known, deadline)
        with Progress() as progress:
            inspector = Inspector(
                store,
                # What cannot be read may be a configuration of any range.
                configured={} if networks.unknown else networks.ranges,
                witness=known.witness,
                surroundings=_surroundings(config, store),
                progress=progress.say,
            )
            found = inspector.inspect(deadline)
    skipped = [] if known.witness is not None else [evidence.NO_WITNESS]
    if networks.unknown:
        skipped.append(f"whether addresses are excluded: {'; '.join(networks.unknown)}")
    elif not networks.ranges:
        skipped.append("whether addresses are excluded: give the network configurations with --netconf")
    return Report(store_name(config), int(time()), found.blocks, found.allocations, skipped, found.findings)


def _surroundings(config: Config, store: Store) -> Callable[[Sequence[StoredBlock], Deadline], Surroundings]:
    """What the kind of store has beside blocks and pools."""
    if config.datastore == "kubernetes":
        from whereabouts.stores import kube_inspection

        resources, coexist = evidence.of_kubernetes(store).resources, config.coexist_with_upstream
        return lambda *read: kube_inspection.surroundings(resources, *read, coexist=coexist)
    if config.etcd is not None:
        from whereabouts.stores import etcd_inspection
        from whereabouts.stores.etcd import EtcdStore

        assert isinstance(store, EtcdStore)  # noqa: S101  # follows from the configuration
        etcd, prefix = store, config.etcd.prefix
        return lambda *read: etcd_inspection.surroundings(etcd, prefix, *read)
    from whereabouts.stores import sqlite_inspection

    return lambda *read: sqlite_inspection.surroundings(config.local_path, *read)


def _lines(report: Report, *, wide: bool) -> list[str]:
    lines = []
    if report.findings:
        lines += [_findings_table(report.findings, None if wide else terminal_width()), ""]
        kinds = Counter(finding.kind for finding in report.findings)
        lines += [f"{kind} ({count}): {KINDS[kind].remedy}." for kind, count in kinds.items()]
        lines.append("")
    harmless = len(report.findings) - report.problems
    problems = formats.counted(report.problems, "problem") if report.problems else "No problem"
    beside = f", {formats.counted(harmless, 'harmless finding')}" if harmless else ""
    blocks, allocations = (
        formats.counted(report.blocks, "block"),
        formats.counted(report.allocations, "allocation"),
    )
    lines.append(f"{problems}{beside} in {blocks} with {allocations}.")
    lines += [f"Not looked at: {printable(sentence)}." for sentence in report.skipped]
    return lines


def _findings_table(findings: Sequence[Finding], width: int | None) -> str:
    rows = [(one.severity, one.kind, one.network_name, one.message) for one in findings]
    return table(["SEVERITY", "KIND", "NETWORK", "WHAT"], rows, width=width)
