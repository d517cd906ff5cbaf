"""What happened: every call of the load, with what came of it."""

import json
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from .world import Attachment

ADD, DELETE, CHECK, COLLECT = "ADD", "DEL", "CHECK", "GC"
ENDS = "ENDS"
"""No call: from here on nobody uses the interface any more. DELs follow, or none where a node crashed."""


class Entry(NamedTuple):
    """A call, once it has ended. Times are seconds of this process's monotonic clock."""

    command: str
    attachment: Attachment
    """Of GC, one with nothing but node and network."""
    begun: float
    ended: float
    deadline: float
    """Seconds that it may take at most: the plugin's own limit."""
    killed: bool = False
    """Whether the caller killed the plugin. Then the rest says nothing."""
    status: int = 0
    """The exit status."""
    stdout: str = ""
    stderr: str = ""
    program: str = "native"
    """``native`` or ``console``."""
    ranges: int = 1
    """From how many ranges an ADD gets an address each."""
    agents: tuple[int, int] = (0, 0)
    """How often the node's agent had been started when the call began, and when it ended."""

    @property
    def succeeded(self) -> bool:
        """Whether the runtime was told that it is done."""
        return not self.killed and self.status == 0

    def addresses(self) -> list[str]:
        """What an ADD that succeeded was given, without prefix lengths. ValueError if it cannot be read."""
        try:
            return [ip["address"].partition("/")[0] for ip in json.loads(self.stdout)["ips"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no result of an ADD: {error!r}") from error


class Journal:
    """Entries in the order in which calls ended, written by many threads."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def write(self, entry: Entry) -> None:
        """Add an entry."""
        with self._lock:
            self._entries.append(entry)

    def entries(self) -> Sequence[Entry]:
        """All that were written and not forgotten."""
        with self._lock:
            return tuple(self._entries)

    def keep(self, alive: Collection[Attachment]) -> None:
        """Forget everything that is not about one of these attachments."""
        with self._lock:
            self._entries = [entry for entry in self._entries if entry.attachment in alive]

    def save(self, path: Path) -> None:
        """Write it as JSON lines."""
        with open(path, "w") as file:
            for entry in self.entries():
                attachment = entry.attachment._asdict()
                file.write(json.dumps({**entry._asdict(), "attachment": attachment}) + "\n")
