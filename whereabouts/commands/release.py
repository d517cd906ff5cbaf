"""``whereabouts release``: addresses given back by a person, after a look at who holds them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from time import time

from whereabouts.addresses import text_of
from whereabouts.allocator import Allocator
from whereabouts.commands import arguments, datastore, evidence, formats
from whereabouts.commands.progress import Progress
from whereabouts.commands.tables import table, terminal_width
from whereabouts.commit import DirectCommitter
from whereabouts.config import ConfigError
from whereabouts.deadline import Deadline
from whereabouts.findings import Record, ReportError, read_report
from whereabouts.inspection import Witness
from whereabouts.log import Log, to_stderr
from whereabouts.overview import at_address, held
from whereabouts.releasing import CHANGED, Verdict, free_all, judge_all
from whereabouts.store import Store

DONE, NOT_DONE, WRONG_USE = range(3)
"""Exit statuses: all that was to be released is; something is not; wrong use."""

LARGEST_REPORT = 1 << 30


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "release",
        help="give addresses back that nobody uses any more",
        description="Shows whose addresses would be released, asks, and releases them if they are still "
        "recorded as they were shown. An address of a pod that lives, or of which nobody can say, is only "
        "released with --force. Exit status: 0 done; 1 something is not released; 2 wrong use.",
    )
    datastore.add_options(parser)
    evidence.add_witness_options(parser)
    parser.add_argument("address", nargs="?", type=arguments.address, metavar="ADDRESS", help="one address")
    parser.add_argument(
        "--network", metavar="NAME", help="only of this network_name; '' for those without one"
    )
    parser.add_argument("--pod", type=arguments.pod, metavar="NAMESPACE/NAME", help="all addresses of a pod")
    parser.add_argument("--from-report", metavar="FILE", help="what check --report found to be releasable")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--dry-run", action="store_true", help="say what would be released, and why not")
    parser.add_argument("--force", action="store_true", help="release addresses of pods that live, too")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Judge, show, ask, judge again, release."""
    try:
        return _run(chosen)
    except ConfigError as error:
        formats.complain(str(error))
        return WRONG_USE


def _run(chosen: argparse.Namespace) -> int:
    if sum(one is not None for one in (chosen.address, chosen.pod, chosen.from_report)) != 1:
        raise ConfigError("say what to release: an ADDRESS, --pod or --from-report")
    if not (chosen.yes or chosen.dry_run or sys.stdin.isatty()):
        raise ConfigError("there is no terminal to ask at: give --yes, or --dry-run to look only")
    deadline = Deadline.none()
    config = datastore.configured(chosen)
    with datastore.opened(chosen) as store, evidence.gathered(chosen, config, store) as known:
        records, judged_at = _wanted(chosen, store, deadline)
        verdicts = judge_all(store, records, known.witness, deadline)
        work = _Work(store, known.witness, judged_at or time(), deadline)
        return _carry_out(chosen, verdicts, work)


def _wanted(
    chosen: argparse.Namespace, store: Store, deadline: Deadline
) -> tuple[Sequence[Record], float | None]:
    """The records, and when they were judged before."""
    if chosen.from_report is not None:
        return _reported(chosen.from_report, chosen.network)
    if chosen.pod is not None:
        content = held(store, lambda owner: owner.pod_ref == chosen.pod, deadline, chosen.network)
    else:
        content = at_address(store, chosen.address, deadline, chosen.network)
    for stored in content.blocks:
        if stored.block is None:
            formats.complain(f"{stored.damage}: nothing can be released there")
    networks = sorted({record.space for record in content.records})
    if chosen.address is not None and len(networks) > 1:
        names = ", ".join(f"'{space.network_name}'" for space in networks)
        raise ConfigError(
            f"{text_of(chosen.address)} is recorded in several networks ({names}): say --network"
        )
    return content.records, None


def _reported(path: str, network_name: str | None) -> tuple[Sequence[Record], float]:
    try:
        with open(path, "rb") as file:
            report = read_report(file.read(LARGEST_REPORT))
    except OSError as error:
        raise ConfigError(f"--from-report {path}: {error.strerror}") from error
    except ReportError as error:
        raise ConfigError(f"--from-report {path}: {error}") from error
    records = [one.record for one in report.judged if network_name in (None, one.record.space.network_name)]
    return records, report.checked


class _Work:
    """What releasing needs beside the verdicts."""

    def __init__(self, store: Store, witness: Witness | None, judged_at: float, deadline: Deadline) -> None:
        self.store = store
        self.witness = witness
        self.judged_at = judged_at
        self.deadline = deadline

    def confirmed(self, verdicts: Sequence[Verdict], *, force: bool) -> list[Verdict]:
        """Judge anew, as late after the first time as the reasons ask for; what is to be released still."""
        due = self.judged_at + max((one.seconds for one in verdicts), default=0.0)
        left = due - time()
        if left > 0 and not force:
            with Progress() as progress:
                progress.say(f"judging once more in {left:.0f} s")
                self.deadline.pause(0.0, "judging once more", least=left)
        again = judge_all(self.store, [one.record for one in verdicts], self.witness, self.deadline)
        return [one for one in again if one.state != CHANGED and (force or not one.released_by_force_only)]


def _carry_out(chosen: argparse.Namespace, verdicts: Sequence[Verdict], work: _Work) -> int:
    if not verdicts:
        print("Nothing is recorded that could be released.")
        return DONE if chosen.from_report else NOT_DONE
    forced = chosen.force
    allowed = [one for one in verdicts if one.state != CHANGED and (forced or not one.released_by_force_only)]
    print(_verdicts_table(verdicts, {one.record for one in allowed}))
    kept = len(verdicts) - len(allowed)
    if any(one.released_by_force_only for one in verdicts) and not forced:
        formats.complain("kept is what a living pod may use; --force releases it all the same")
    if chosen.dry_run or not allowed:
        return NOT_DONE if kept else DONE
    if not chosen.yes and not _agreed(len(allowed)):
        print("Nothing was released.")
        return NOT_DONE
    confirmed = work.confirmed(allowed, force=forced)
    freed, failures = free_all(_allocator(work.store), [one.record for one in confirmed], work.deadline)
    for failure in failures:
        formats.complain(failure)
    missed = len(allowed) - len(freed)
    why = "changed meanwhile, or could not be written," if failures else "changed meanwhile"
    stay = f" {missed} {why} and stay." if missed else ""
    print(f"Released {len(freed)} of {len(verdicts)}.{stay}")
    return NOT_DONE if kept or missed else DONE


def _verdicts_table(verdicts: Sequence[Verdict], allowed: set[Record]) -> str:
    rows = []
    for one in verdicts:
        owner = one.record.owner
        what = "release" if one.record in allowed else "keep"
        row = [what, text_of(one.record.address), owner.pod_ref, owner.ifname, owner.node]
        rows.append([*row, one.record.space.network_name, one.reason])
    return table(
        ["DO", "ADDRESS", "POD", "INTERFACE", "NODE", "NETWORK", "WHY"], rows, width=terminal_width()
    )


def _agreed(count: int) -> bool:
    sys.stdout.write(f"Release {formats.counted(count, 'address', 'es')}? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _allocator(store: Store) -> Allocator:
    return Allocator(store, DirectCommitter(store), Log("error", to_stderr))
