"""When the reconciler runs: an expression that may be changed while the controller runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from whereabouts.config import ConfigError, Files
from whereabouts.config.errors import Problems
from whereabouts.config.flat_file import read_flat_file
from whereabouts.controller.cron import DEFAULT, Cron, CronError
from whereabouts.log import Log

CRON_FILE = "/cron-schedule/config"
"""Where manifests mount the key ``cron-expression`` of the ConfigMap ``whereabouts-config``."""
CRON_VARIABLE = "WHEREABOUTS_RECONCILER_CRON"
"""The environment variable that the Go plugin's installer takes the expression from."""
CRON_KEY = "reconciler_cron_expression"
"""Its key in a flat file."""


class Schedule:
    """The times at which the reconciler is to run. What is read anew is the expression, at each question."""

    def __init__(self, read: Callable[[], str], log: Log, now: datetime) -> None:
        """A schedule from ``now`` on; the default one, where the first expression is bad."""
        self._read = read
        self._log = log
        self._text = self._fault = ""
        self._cron = Cron(DEFAULT)
        self._follow(now)
        self.next = self._cron.after(now)
        """When it is due next."""

    def due(self, now: datetime) -> bool:
        """Whether a time has come since the last question. Times that were missed count once."""
        if self._follow(now):
            self.next = self._cron.after(now)
        if now < self.next:
            return False
        self.next = self._cron.after(now)
        return True

    def _follow(self, now: datetime) -> bool:
        """Take a changed expression over; False where it has not changed, or is bad."""
        try:
            text = self._read()
        except ConfigError as error:
            return self._stay(str(error))
        if text == self._text:
            self._fault = ""
            return False
        try:
            cron = Cron(text)
        except CronError as error:
            return self._stay(str(error))
        self._text, self._fault, self._cron = text, "", cron
        self._log.verbose(f"the reconciler runs at {text!r}, next at {cron.after(now).isoformat()}")
        return True

    def _stay(self, fault: str) -> bool:
        if fault != self._fault:
            self._log.error(f"{fault}; the schedule stays as it was")
        self._fault = fault
        return False


def expression_source(path: str, files: Files, environment: Mapping[str, str]) -> Callable[[], str]:
    """Where the expression stands: the file at ``path``, else a flat file, the environment, the default.

    What it returns raises ConfigError for a flat file that cannot be read.
    """

    def read() -> str:
        try:
            mounted = (files.read(path) or b"").decode(errors="replace").strip()
        except OSError:
            mounted = ""
        return mounted or _of_flat_file(files) or environment.get(CRON_VARIABLE, "").strip() or DEFAULT

    return read


def _of_flat_file(files: Files) -> str:
    return read_flat_file(files, "", Problems(True, [])).own_text(CRON_KEY).strip()
