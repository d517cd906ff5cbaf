"""The suites that need more of a machine than Python and a C compiler, and what this machine lacks for each.

A test belongs to a suite by its marker: ``pytestmark = pytest.mark.etcd``. It is skipped, and the suite
named in the last lines of the run, where something is missing.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from typing import NamedTuple


class Suite(NamedTuple):
    """What a suite needs, and what of it is missing here (None: nothing)."""

    needs: str
    missing: Callable[[], str | None]


def find_program(name: str, *folders: str | None) -> str | None:
    """The path of a program in the first of these folders that has it."""
    return shutil.which(name, path=os.pathsep.join(filter(None, folders)))


def _no_apiserver() -> str | None:
    if find_program("kube-apiserver", os.environ.get("KUBEBUILDER_ASSETS"), "/usr/local/kubebuilder/bin"):
        return None
    return "no kube-apiserver in $KUBEBUILDER_ASSETS or /usr/local/kubebuilder/bin"


def _no_etcd() -> str | None:
    return None if shutil.which("etcd") else "no etcd on PATH (Debian: etcd-server)"


@cache
def _no_netns() -> str | None:
    if os.geteuid() != 0:
        return "root makes network namespaces, and this is not root"
    if not shutil.which("ip"):
        return "no ip on PATH (Debian: iproute2)"
    if not find_program("bridge", os.environ.get("CNI_PATH"), "/opt/cni/bin", "/usr/lib/cni"):
        return "no bridge in $CNI_PATH, /opt/cni/bin or /usr/lib/cni (Debian: containernetworking-plugins)"
    made = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if made.returncode == 0 else f"network namespaces cannot be made here: {made.stderr.strip()}"


@cache
def _no_packaging() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "--retries", "0", "--timeout", "20"]
        download = [*pip, "download", "--quiet", "--no-deps", "--dest", folder, "setuptools", "cython"]
        if subprocess.run(download, capture_output=True, check=False).returncode != 0:
            return "pip cannot reach a package index with setuptools and cython"
    return None


def find_browser() -> str | None:
    """The path of a Chromium."""
    return shutil.which("chromium-headless-shell") or shutil.which("chromium")


@cache
def _no_browser() -> str | None:
    program = find_browser()
    if program is None:
        return "no chromium-headless-shell or chromium on PATH (Debian: chromium-headless-shell)"
    asked = [program, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "data:text/html,well"]
    try:
        run = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        return f"{program} shows no page within a minute"
    return None if "well" in run.stdout else f"{program} shows no page here: {run.stderr.strip()[-200:]}"


def _no_docs() -> str | None:
    needed = ("sphinx", "myst_parser", "furo")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"{' and '.join(missing)} not installed; make docs does that" if missing else None


def _no_helm() -> str | None:
    return None if shutil.which("helm") else "no helm on PATH"


def _no_plots() -> str | None:
    missing = importlib.util.find_spec("matplotlib") is None
    return "matplotlib not installed; make bench does that" if missing else None


def _no_promtool() -> str | None:
    return None if shutil.which("promtool") else "no promtool on PATH (Debian: prometheus)"


def _no_time() -> str | None:
    if os.environ.get("HYPOTHESIS_PROFILE", "default") != "default":
        return None
    return "it takes minutes; HYPOTHESIS_PROFILE=ci runs it"


SUITES = {
    "apiserver": Suite("a kube-apiserver and its etcd", _no_apiserver),
    "browser": Suite("a headless Chromium, to look at pages", _no_browser),
    "docs": Suite("Sphinx with MyST and its theme, to build the documentation", _no_docs),
    "etcd": Suite("an etcd server", _no_etcd),
    "helm": Suite("Helm, to render the chart", _no_helm),
    "netns": Suite("root, network namespaces and the bridge plugin", _no_netns),
    "packaging": Suite("a package index, to build and install the distributions", _no_packaging),
    "plots": Suite("matplotlib, to draw the plots of the results", _no_plots),
    "promtool": Suite("promtool of Prometheus, to check metrics and play alerts", _no_promtool),
    "slow": Suite("minutes", _no_time),
}
