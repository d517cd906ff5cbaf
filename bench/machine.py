"""On what was measured, and against which programs, as far as they tell their version."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from bench.peers import present
from tests.suites import find_program

ASSETS = (os.environ.get("KUBEBUILDER_ASSETS"), "/usr/local/kubebuilder/bin")
PACKAGES = ("grpcio", "msgspec", "pyroaring", "bitarray", "intbitset", "zstandard", "kubernetes")


def versions() -> dict[str, str]:
    """Names of programs and packages, and their versions; those that are not there are left out."""
    return {name: found for name, found in _versions() if found}


def _versions() -> Iterator[tuple[str, str]]:
    for name, program in (
        ("kube-apiserver", find_program("kube-apiserver", *ASSETS)),
        ("etcd of the API server", find_program("etcd", *ASSETS)),
        ("etcd", shutil.which("etcd")),
    ):
        if program:
            yield name, _number(_said(program, "--version"))
    for peer in present():
        version_told = _said(peer.program).partition("version ")[2].removeprefix("unknown")
        yield peer.name, version_told or f"SHA-256 {_digest(peer.program)}"
    for name in PACKAGES:
        yield name, version(name)


def _digest(program: str) -> str:
    """So much of it that nobody takes another program for this one."""
    return sha256(Path(program).read_bytes()).hexdigest()[:12]


def _said(program: str, *arguments: str) -> str:
    """The first line; a CNI plugin without CNI_COMMAND in its environment says who it is."""
    run = subprocess.run(
        [program, *arguments], env={}, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return (run.stdout.strip() or run.stderr.strip()).partition("\n")[0]


def _number(line: str) -> str:
    found = re.search(r"\d+(\.\d+)+\S*", line)
    return found[0] if found else line
