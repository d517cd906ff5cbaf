"""How much memory another process has."""

from pathlib import Path
from typing import NamedTuple


class Memory(NamedTuple):
    """In MiB, at one time."""

    peak: float
    """The most that it ever had resident (VmHWM), shared pages included."""
    resident: float
    """What it has now (VmRSS)."""
    pss: float
    """What it has now; a page that is shared with other processes counts in parts (proc_pid_smaps(5))."""


def memory_of(pid: int) -> Memory:
    """That of a process of this user."""
    return Memory(
        _mebibytes(pid, "status", "VmHWM"),
        _mebibytes(pid, "status", "VmRSS"),
        _mebibytes(pid, "smaps_rollup", "Pss"),
    )


def _mebibytes(pid: int, file: str, name: str) -> float:
    lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    (kibibytes,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kibibytes) / 1024
