"""A file system that is small enough to fill."""

import os
import subprocess
from pathlib import Path


def mount(folder: Path, size: str) -> str:
    """Give an empty ``folder`` one of its own, if that can be; else why not."""
    if os.geteuid() != 0:
        return "disk full: root mounts the small file system, and this is not root"
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    return (
        ""
        if made.returncode == 0
        else f"disk full: no file system can be mounted here: {made.stderr.strip()}"
    )


def unmount(folder: Path) -> None:
    """Take it away, if there is one."""
    subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)
