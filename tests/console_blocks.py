"""``console`` blocks of the documents: what is typed, and what the machine says.

A line that begins with ``$ `` is a command, lines that begin with ``> `` go on with it, and the others are
what it prints. ``...`` stands for anything there, as in doctest.

Words behind ``console`` say what a block needs that a test does not have (``NEEDS``); ``fails`` says that its
last command does not succeed. All other blocks of a page are run in one shell, one after another.
"""

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.documents import ROOT, Block

NEEDS = {
    "needs-checkout": "the source tree, and minutes",
    "needs-cluster": "a Kubernetes cluster",
    "needs-etcd": "an etcd cluster",
    "needs-network": "something from a registry",
    "needs-root": "to change this machine",
}
FAILS = "fails"
MAKE = """#!/bin/sh
[ "$*" = run ] && echo .venv/bin/python examples/tour.py && exec {python} {tour}
echo "make $*: mark this block needs-checkout"
exit 1
"""
SECONDS = 180
"""How long the commands of a page may take together."""


class Step(NamedTuple):
    """A command, and what it is said to print."""

    where: str
    command: str
    output: str
    fails: bool


class Outcome(NamedTuple):
    """What a command printed, both streams as they came, and its exit status (None: it was not reached)."""

    output: str
    status: int | None


def words(block: Block) -> set[str]:
    """The words behind the language."""
    return set(block.info.split()[1:])


def steps(block: Block) -> list[Step]:
    """The commands of a block."""
    found: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            where = f"{block.where.rpartition(':')[0]}:{number}"
            found.append(Step(where, line[2:], "", False))
        elif not found:
            raise ValueError(f"{block.where}: a console block begins with '$ ' and a command")
        elif line == ">" or line.startswith("> "):
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line[2:]}")
        else:
            found[-1] = found[-1]._replace(output=f"{found[-1].output}{line}\n")
    if FAILS in words(block) and found:
        found[-1] = found[-1]._replace(fails=True)
    return found


def run(commands: Sequence[str], folder: Path) -> list[Outcome]:
    """Run commands in one shell, whose working directory and home is ``folder``."""
    mark = uuid.uuid4().hex
    script = "".join(f"{command}\nprintf '\\n{mark} %s\\n' $?\n" for command in commands)
    environment = _environment(folder)
    printed = folder / ".printed"  # a file, as what runs on in the background would keep a pipe open
    with printed.open("w") as stdout:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=SECONDS)
        finally:
            _end(shell)
    parts = re.split(rf"\n{mark} (\d+)\n", printed.read_text())
    outcomes = [
        Outcome(_ended(text), int(status)) for text, status in zip(parts[::2], parts[1::2], strict=False)
    ]
    missing = len(commands) - len(outcomes)
    return outcomes + [Outcome(parts[-1], None)] * missing


def _ended(text: str) -> str:
    """The same with its last line ended, which a plugin's answer does not do."""
    return text if text.endswith("\n") or not text else f"{text}\n"


def _end(shell: subprocess.Popen[bytes]) -> None:
    """End what the commands left in the background."""
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def _environment(folder: Path) -> dict[str, str]:
    """Programs of this environment first, then ``make``, as the documents have it once make has set up."""
    shims = folder / ".shims"
    shims.mkdir()
    make = shims / "make"
    make.write_text(MAKE.format(python=sys.executable, tour=ROOT / "examples/tour.py"))
    make.chmod(0o755)
    places = [str(shims), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {"PATH": os.pathsep.join(places), "HOME": str(folder), "LC_ALL": "C.UTF-8", "NODENAME": "node-1"}
