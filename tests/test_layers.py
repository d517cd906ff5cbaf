"""Imports go downwards only, and a plugin process imports only what its call needs."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import whereabouts

PACKAGE = Path(whereabouts.__file__).parent

LAYERS = {
    "pure values": "errors values _bitmap _codec _columns addresses ranges owners block pool slices",
    "bytes in, values out": "cni config export_format",
    "what the algorithms stand on": "deadline log store commit changes",
    "algorithms over the store interface": "search allocator node_slices verify collect usage transfer cells"
    " findings false_hints inspection cluster_witness list_witness overview releasing explanation"
    " liveness roster suspects deletions audit reconcile",
    "stores": "stores",
    "the cluster beside the store": "cluster",
    "wiring": "config.host_files range_metrics http_server http_options service plugin agent controller"
    " install commands cli kubectl entry __main__",
}
"""Modules and packages, the lowest first; a name with more parts goes before the package it is in."""

RANK = {name: rank for rank, names in enumerate(LAYERS.values()) for name in names.split()}

IMPURE = "asyncio datetime os pathlib random select shutil socket sqlite3 subprocess threading time"
"""Input, output, clock and chance."""


def _module(path: Path) -> str:
    """``cni.names`` for whereabouts/cni/names.py, ``cni`` for whereabouts/cni/__init__.py."""
    parts = path.relative_to(PACKAGE).with_name(path.name.partition(".")[0]).parts
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {_module(path): path for suffix in ("py", "pyx") for path in PACKAGE.rglob(f"*.{suffix}")}
MODULES = sorted(SOURCES.keys() - {""})


def _imports(module: str) -> Iterator[str]:
    """Full names of what a module imports, wherever in it; of ``from a import b`` both a and a.b."""
    path = SOURCES[module]
    text = path.read_text()
    if path.suffix == ".pyx":
        yield from re.findall(r"^\s*(?:from|import|cimport)\s+([\w.]+)", text, re.MULTILINE)
        return
    package = ".".join(["whereabouts", *path.relative_to(PACKAGE).parent.parts])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = resolve_name("." * node.level + (node.module or ""), package)
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _own_imports(module: str) -> set[str]:
    names = {
        name.removeprefix("whereabouts.") for name in _imports(module) if name.startswith("whereabouts.")
    }
    return names & SOURCES.keys()


def _rank(module: str) -> int | None:
    """The layer of the longest name in LAYERS that the module is or is in."""
    parts = module.split(".")
    names = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((RANK[name] for name in names if name in RANK), None)


def test_every_module_has_a_layer() -> None:
    assert [module for module in MODULES if _rank(module) is None] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_nothing_of_a_higher_layer(module: str) -> None:
    rank = _rank(module)
    assert rank is not None
    assert {name for name in _own_imports(module) if (_rank(name) or 0) > rank} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    remaining = {module: _own_imports(module) - {module} for module in MODULES}
    while ready := {module for module, needed in remaining.items() if not needed & remaining.keys()}:
        remaining = {module: needed for module, needed in remaining.items() if module not in ready}
    assert remaining == {}


@pytest.mark.parametrize("module", [module for module in MODULES if _rank(module) in (0, 1)])
def test_values_and_protocol_do_no_input_or_output_and_have_no_clock(module: str) -> None:
    assert {name.partition(".")[0] for name in _imports(module)} & set(IMPURE.split()) == set()


# ---- what a process of the plugin loads ----

CHEAP = """import __future__, _json, binascii, bisect, collections.abc, contextlib, errno, gc, ipaddress
import math, struct, zlib"""


def _loaded(program: str, environment: dict[str, str], stdin: str = "") -> set[str]:
    """Names of all modules that a Python process imported until its end, start-up included."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program],
        cwd=PACKAGE.parent,
        env=os.environ | environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line for line in run.stderr.splitlines() if line.startswith("import time:"))
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(("command", "also"), [("VERSION", ""), ("ADD", ", sqlite3"), ("DEL", ", sqlite3")])
def test_a_call_loads_only_what_is_cheap_and_the_store(command: str, also: str, tmp_path: Path) -> None:
    call = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "0123abcd",
        "CNI_NETNS": "/var/run/netns/not-there",
        "CNI_IFNAME": "net1",
        "CNI_ARGS": "K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-1",
        "CNI_PATH": "/opt/cni/bin",
    }
    local = {"path": f"{tmp_path}/whereabouts.db"}
    ipam = {"type": "whereabouts", "range": "192.0.2.0/24", "datastore": "local", "local": local}
    config = {"cniVersion": "1.1.0", "name": "net", "type": "macvlan", "ipam": ipam}
    loaded = _loaded("from whereabouts.entry import main; main()", call, json.dumps(config))
    unexpected = loaded - _loaded(CHEAP + also, {})
    assert {name for name in unexpected if name.partition(".")[0] != "whereabouts"} == set()
