"""What shells complete with the scripts of ``whereabouts completion``: tried in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cni_calls import CONSOLE, LONG
from whereabouts.cli import main

TYPED = [
    ("whereabouts expo", "export"),
    ("whereabouts show --kubec", "show --kubeconfig"),
    ("whereabouts map 10.0.0.0/8 --cells bl", "map 10.0.0.0/8 --cells block"),
    ("whereabouts export --local back", "export --local backup.db"),
    ("whereabouts migrate --to up", "migrate --to upstream"),
]
"""The beginning of a command line, and what the program is called with when it is completed."""
BASH, ZSH = ["--norc", "--noprofile", "-i"], ["-f", "-i"]
SETUPS = {
    "bash": (BASH, "bind 'set enable-bracketed-paste off'; source ./script"),
    "zsh": (ZSH, 'autoload -U compinit; compinit -u; eval "$(<script)"'),
    "zsh with the script in $fpath": (
        ZSH,
        "mkdir f; cp script f/_whereabouts; fpath=($PWD/f $fpath); autoload -U compinit; compinit -u",
    ),
}
"""How shells are started, and what is typed to have them complete."""


def needs(shell: str) -> str:
    """The path of a shell."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} on PATH")
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the scripts and one file to be found."""
    (tmp_path / "backup.db").touch()
    return tmp_path


def write_script(folder: Path, shell: str) -> None:
    run = subprocess.run([CONSOLE, "completion", shell], capture_output=True, text=True, check=True)
    (folder / "script").write_text(run.stdout)


class Screen:
    """A shell in a terminal."""

    def __init__(self, program: str, arguments: list[str], folder: Path) -> None:
        self._leader, follower = pty.openpty()
        self.shell = subprocess.Popen(
            [program, *arguments],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(follower)
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until the text stands there, and past it."""
        end = time.monotonic() + LONG
        while text not in self.text:
            readable, _, _ = select.select([self._leader], [], [], max(0.0, end - time.monotonic()))
            assert readable, self.text
            self.text += os.read(self._leader, 4096).decode(errors="replace")
        self.text = self.text.partition(text)[2]

    def close(self) -> None:
        self.shell.kill()
        self.shell.wait()
        os.close(self._leader)


@pytest.mark.parametrize("way", SETUPS)
def test_a_tab_completes_what_was_typed(folder: Path, way: str) -> None:
    arguments, setup = SETUPS[way]
    shell = way.split()[0]
    program = needs(shell)
    write_script(folder, shell)
    screen = Screen(program, arguments, folder)
    try:
        # A function in the program's place tells what it is called with, and a prompt that it is over.
        screen.type(f"{setup}; whereabouts() {{ printf 'called with [%s]\\n' \"$*\"; }}; PS1='re''ady> '\n")
        for typed, called in TYPED:
            screen.wait_for("ready> ")
            screen.type(f"{typed}\t")
            screen.wait_for(called.split()[-1])
            screen.type("\n")
            screen.wait_for(f"called with [{called}]")
    finally:
        screen.close()


def test_fish_completes_what_was_typed(folder: Path) -> None:
    program = needs("fish")
    write_script(folder, "fish")
    for typed, called in TYPED:
        run = subprocess.run(
            [program, "--no-config", "-c", 'source ./script; complete -C "$argv"', typed],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=True,
        )
        words = [line.partition("\t")[0] for line in run.stdout.splitlines()]
        assert called.split()[-1] in words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_know_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in ("show", "map", "check", "export", "import", "migrate", "agent", "install", "completion"):
        assert command in script


def test_without_shtab_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert "pip install 'whereabouts-ipam[completion]'" in capsys.readouterr().err
