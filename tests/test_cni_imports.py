"""A CNI call is a process of its own: what the protocol imports is paid for on every call."""

import subprocess
import sys
from pathlib import Path

import whereabouts

SCRIPT = """
import sys
import ipaddress
allowed = set(sys.modules)
import whereabouts.cni.args, whereabouts.cni.attachments, whereabouts.cni.errors, whereabouts.cni.netns
import whereabouts.cni.prev_result, whereabouts.cni.request, whereabouts.cni.results
print(*sorted(name for name in set(sys.modules) - allowed if not name.startswith("whereabouts")))
"""


def test_protocol_imports_nothing_beyond_the_json_scanner_and_ipaddress() -> None:
    root = Path(whereabouts.__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()) <= {"__future__", "_json", "collections.abc", "math"}
