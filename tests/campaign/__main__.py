"""``python -m tests.campaign --minutes 60``: run the campaign, tell what it came to."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

from .checker import Violation
from .fault import Fault
from .rounds import ROUND_SECONDS, Rounds, Tally
from .world import World

WORLDS = ("sqlite", "etcd", "kubernetes")
PLACE = Path("build/faults")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 if nothing was found, 1 if something was, 2 if it was called wrongly."""
    chosen = _parser().parse_args(arguments)
    worlds = [name for name in WORLDS if name in (chosen.world or WORLDS)]
    able = [name for name in worlds if not _left_out(name)]
    print(f"seed {chosen.seed}", flush=True)
    results = [_campaign(name, chosen, 60.0 * chosen.minutes / len(able)) for name in able]
    for result in results:
        print(_summary(result), flush=True)
    return 0 if able and not any(result["violations"] for result in results) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, default=60.0, help="of all worlds together (default: %(default)g)")
    add("--seed", type=int, default=time.time_ns() % 1_000_000, help="of all that is drawn (default: any)")
    add("--world", action="append", choices=WORLDS, help="may be repeated (default: all)")
    add("--fault", action="append", metavar="NAME", help="only these; may be repeated (default: all)")
    add(
        "--longest", type=float, default=inf, metavar="SECONDS", help="no fault holds for more (default: any)"
    )
    add("--json", type=Path, metavar="DIR", help="where each world's result goes, as WORLD.json")
    add(
        "--evidence", type=Path, default=PLACE, metavar="DIR", help="for what is found (default: %(default)s)"
    )
    return parser


def _left_out(name: str) -> str:
    missing: str = import_module(f".{name}_world", __package__).missing()
    if missing:
        print(f"left out: world {name}: {missing}", flush=True)
    return missing


def _campaign(name: str, chosen: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Rounds in one world until the time is over, or something is found."""
    world: World = import_module(f".{name}_world", __package__).open_world()
    begun = time.monotonic()
    try:
        for sentence in world.left_out:
            print(f"left out: {name}: {sentence}", flush=True)
        rounds = Rounds(world, chosen.seed, _faults(world, chosen.fault))
        found: list[Violation] = []
        while not found and time.monotonic() - begun < seconds:
            found = rounds.run(seconds if seconds < ROUND_SECONDS[0] else 0.0, chosen.longest)
            print(f"{name}: round {rounds.tally.rounds}: {_told(rounds.tally)}", flush=True)
        if found:
            place = chosen.evidence / f"{name}-{chosen.seed}-{rounds.tally.rounds}"
            _tell(found, rounds, place)
    finally:
        world.close()
    result = _result(name, chosen.seed, time.monotonic() - begun, rounds.tally, found)
    if chosen.json is not None:
        chosen.json.mkdir(parents=True, exist_ok=True)
        (chosen.json / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    return result


def _faults(world: World, names: Sequence[str] | None) -> list[Fault]:
    faults = [fault for fault in world.faults() if names is None or fault.name in names]
    if not faults:
        sys.exit(f"world {world.name} has these faults: {', '.join(fault.name for fault in world.faults())}")
    return faults


def _told(tally: Tally) -> str:
    faults = ", ".join(f"{name} {number}" for name, number in sorted(tally.faults.items()))
    slowest = tally.slowest
    took = f"; slowest {slowest.command} {slowest.ended - slowest.begun:.1f} s" if slowest else ""
    return (
        f"{tally.calls} calls, {tally.adds} ADDs in {tally.loaded_seconds:.0f} s of load{took}; "
        f"{tally.faults.total()} faults ({faults})"
    )


def _tell(found: Sequence[Violation], rounds: Rounds, place: Path) -> None:
    """Say what was found, and keep what is needed to look into it."""
    rounds.save(place)
    sentences = [str(violation) for violation in found]
    (place / "found").write_text("\n".join(sentences) + "\n")
    for sentence in sentences[:50]:
        print(sentence)
    more = f"{len(sentences) - 50} more; " if len(sentences) > 50 else ""
    print(f"{len(sentences)} violations; {more}journal and agents' logs are in {place}", flush=True)


def _result(name: str, seed: int, seconds: float, tally: Tally, found: Sequence[Violation]) -> dict[str, Any]:
    slowest = tally.slowest
    return {
        "world": name,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "minutes": round(seconds / 60, 1),
        "rounds": tally.rounds,
        "loaded_seconds": round(tally.loaded_seconds),
        "calls": tally.calls,
        "adds": tally.adds,
        "misled": tally.misled,
        "faults": dict(sorted(tally.faults.items())),
        "slowest_seconds": round(slowest.ended - slowest.begun, 2) if slowest else 0.0,
        "deadline_seconds": slowest.deadline if slowest else 0.0,
        "violations": len(found),
    }


def _commit() -> str:
    """What is checked out where this file lies."""
    command = ["git", "describe", "--always", "--abbrev=12", "--match=", "--dirty= and changes"]
    try:
        run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return run.stdout.strip()


def _summary(result: Mapping[str, Any]) -> str:
    struck = ", ".join(f"{name} {number}" for name, number in result["faults"].items())
    slowest = f"{result['slowest_seconds']} s of {result['deadline_seconds']:g}"
    return (
        f"{result['world']}: {result['minutes']} minutes, {result['rounds']} rounds, {result['calls']} calls,"
        f" {result['adds']} of them ADD; faults: {struck}; the slowest answer took {slowest};"
        f" ranges that a wrong hint kept from their order: {result['misled']};"
        f" violations: {result['violations']}"
    )


if __name__ == "__main__":
    sys.exit(main())
