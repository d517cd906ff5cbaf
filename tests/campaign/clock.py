"""Clocks of agents that can be set, each alone: ``clock.c``, built where there is a C compiler.

libfaketime would do, but for sleeps until a point of the monotonic clock, which it makes fail.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
_SECONDS = struct.Struct("=q")


def build_clock(directory: Path) -> Path | None:
    """Build the library that is preloaded into ``directory``; None where there is no C compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        return None
    library = directory / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-o", library, SOURCE], check=True)
    return library


class Clock:
    """The clock of one agent, by a file that its process has mapped."""

    def __init__(self, file: Path, library: Path) -> None:
        """A clock that is right. ``file`` is made."""
        self._file = file
        self._library = library
        file.write_bytes(_SECONDS.pack(0))

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process that has this clock is started with."""
        return {"LD_PRELOAD": str(self._library), "CAMPAIGN_CLOCK": str(self._file)}

    def set(self, seconds: int) -> None:
        """Let it be so many seconds off, at once."""
        with open(self._file, "r+b", buffering=0) as file:
            file.write(_SECONDS.pack(seconds))


class Clocks:
    """The clocks of a world's processes, where they can be made."""

    def __init__(self, directory: Path) -> None:
        """None yet. The library goes to ``directory``."""
        self._library = build_clock(directory)
        self.made: list[Clock] = []
        self.left_out = [] if self._library else ["clock jumped: no C compiler"]
        """Why there are none, for :attr:`~tests.campaign.world.World.left_out`."""

    def environment(self, folder: Path) -> Mapping[str, str]:
        """Of a process with a new clock, whose file goes to ``folder``; of one like any other, if need be."""
        if self._library is None:
            return {}
        self.made.append(Clock(folder / "clock", self._library))
        return self.made[-1].environment
