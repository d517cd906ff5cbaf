"""Keeping the kubeconfig in step with the token and the certificates that the kubelet rotates."""

from __future__ import annotations

from threading import Event, Thread

from whereabouts.errors import WhereaboutsError
from whereabouts.install.credentials import Credentials, read_credentials
from whereabouts.install.errors import CredentialsError
from whereabouts.install.installer import refresh
from whereabouts.install.settings import Settings
from whereabouts.log import Log

SECONDS = 1.0
"""Between two looks. Both files are small and in memory, so they are simply read: that misses no change,
whichever way it was made (the kubelet swaps the symbolic link ``..data`` above them)."""


def follow(settings: Settings, log: Log, stop: Event, *, seconds: float = SECONDS) -> None:
    """Write the kubeconfig whenever the credentials differ from those in it, until ``stop`` is set.

    What fails is said once and tried again at the next look; the old kubeconfig stays until then.
    """
    follower = _Follower(settings, log)
    follower.look()
    while not stop.wait(seconds):
        follower.look()


class CredentialFollower:
    """:func:`follow` in a thread of its own."""

    def __init__(self, settings: Settings, log: Log, *, seconds: float = SECONDS) -> None:
        """A follower that is not started yet."""
        self._stop = Event()
        self._thread = Thread(
            target=follow,
            args=(settings, log, self._stop),
            kwargs={"seconds": seconds},
            name="credential-follower",
            daemon=True,
        )

    def start(self) -> None:
        """Begin to follow; RuntimeError if that was done before."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until a write that is under way is done."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()


class _Follower:
    """What is in the kubeconfig, and what was said last."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._written: Credentials | None = None
        self._complaint = ""

    def look(self) -> None:
        """Write the credentials if they changed; whatever goes wrong is logged."""
        try:
            self._refresh()
        except WhereaboutsError as error:
            self._complain(str(error))
        except Exception as error:
            # Nothing of the error's text: it was not written with secrets in mind.
            self._complain(f"internal error, please report it: {type(error).__name__}")
        else:
            self._complaint = ""

    def _refresh(self) -> None:
        credentials = read_credentials(self._settings.service_account, self._settings.ca_file)
        if credentials is None and self._written is not None:
            raise CredentialsError(
                f"the token in {self._settings.service_account} is gone: the last one is kept"
            )
        if credentials is not None and credentials != self._written:
            refresh(self._settings, credentials, self._log)
            self._written = credentials

    def _complain(self, complaint: str) -> None:
        if complaint != self._complaint:
            self._log.error(f"following the service account: {complaint}")
        self._complaint = complaint
