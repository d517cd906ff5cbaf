"""The sections about what was not measured but attacked: the campaign of faults, and the fuzzers."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measured import number

from .markdown import command, table

FAULTS = """## The fault campaign

Runtimes call, with the native plugin, agents that share a store, while what is named below is done to
processes, servers, disk, clock and network. Then everything is healed, one repair pass is made, and the
records are read from the store: no address may be held twice or be recorded for nobody, none that a pod has
may be missing, what is stored has to be whole, and every call has to be answered within its deadline, and
two seconds more for processes to start and end."""
NO_FAULTS = f"{FAULTS}\n\nIt was not run for this page."
FUZZERS = """## The fuzzers

Inputs are made up and changed, by what they reach in the program, in search of one that breaks a promise."""
UNKNOWN = "unknown"
"""What older records do not tell."""
COLUMNS = {
    "minutes": "minutes",
    "calls": "calls",
    "adds": "ADDs",
    "slowest_seconds": "slowest call, s",
    "deadline_seconds": "its deadline, s",
    "violations": "violations",
}


def faults(folder: Path) -> str:
    """From the results of campaigns: ``*.json`` in ``folder``, each of one world or a list of them."""
    found = list(_results(folder))
    if not found:
        return f"{NO_FAULTS}\n\n{command('make faults MINUTES=60')}\n"
    rows = [
        [f"{one['world']}, seed {one['seed']}", *(_told(one.get(key)) for key in COLUMNS)] for one in found
    ]
    return (
        "\n\n".join([FAULTS, _verdict(found), table(["world", *COLUMNS.values()], rows), *map(_one, found)])
        + "\n"
    )


def fuzzers(folder: Path) -> str:
    """The same of fuzzers, a row for each; empty where none left anything."""
    found = list(_results(folder))
    if not found:
        return ""
    names = list(dict.fromkeys(key for one in found for key, value in one.items() if _is_plain(value)))
    rows = [[_told(one.get(name)) for name in names] for one in found]
    heading = [name.replace("_", " ") for name in names]
    return "\n\n".join([FUZZERS, table(heading, rows), command("make fuzz")]) + "\n"


def _verdict(found: Sequence[Mapping[str, Any]]) -> str:
    minutes = number(sum(one.get("minutes", 0) for one in found))
    violations = sum(_count(one.get("violations", 0)) for one in found)
    told = f"{violations or 'no'} violation{'s'[: violations != 1]}"
    return f"In {minutes} minutes of all worlds together: **{told}**."


def _one(one: Mapping[str, Any]) -> str:
    strikes = ", ".join(f"{name} {times}" for name, times in sorted(one.get("faults", {}).items()))
    run = f"make faults WORLD={one['world']} SEED={one['seed']} MINUTES={one.get('minutes', 60):g}"
    done = f"What was done to the world *{one['world']}*, and how often: {strikes or 'nothing'}."
    when = f"It ended at {one.get('date', UNKNOWN)}; the commit was {one.get('commit', UNKNOWN)}."
    return f"{done} {when}\n\n{command(run)}"


def _results(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        yield from content if isinstance(content, list) else [content]


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _count(violations: Any) -> int:
    return violations if isinstance(violations, int) else len(violations)


def _told(value: Any) -> str:
    if isinstance(value, list):
        value = len(value)
    return "" if value is None else number(value) if isinstance(value, int | float) else str(value)
