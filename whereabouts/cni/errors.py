"""The error of the CNI protocol: a code that the runtime acts upon and a sentence that a person reads.

Codes 0 to 99 are the specification's (CNI SPEC, section 5, "Error"), from 100 on they are the plugin's.
"""

from __future__ import annotations

from whereabouts.cni.json_print import quoted
from whereabouts.errors import WhereaboutsError

INCOMPATIBLE_VERSION = 1
UNSUPPORTED_FIELD = 2
UNKNOWN_CONTAINER = 3
INVALID_ENVIRONMENT = 4
IO_FAILURE = 5
DECODING_FAILURE = 6
INVALID_NETWORK_CONFIG = 7
INVALID_NETNS = 8
"""Not in the specification's table; the CNI library gives it for a plugin in the container's own netns."""
TRY_AGAIN_LATER = 11
PLUGIN_NOT_AVAILABLE = 50
PLUGIN_NOT_AVAILABLE_LIMITED = 51
"""Not available, and containers that run already may have limited connectivity."""
WHEREABOUTS = 999
"""Every error that is not the protocol's: the Go plugin gives this code, and tools match on it."""

_LONGEST_ECHO = 256


class CniError(WhereaboutsError):
    """A failed CNI call, as it is printed for the runtime.

    ``code`` is one of this module's numbers; ``msg`` says what was wrong; ``details`` may be empty.
    """

    def __init__(self, code: int, msg: str, details: str = "") -> None:
        """Keep the three parts of the error object."""
        super().__init__(code, msg, details)
        self.code = code
        self.msg = msg
        self.details = details

    def __str__(self) -> str:
        """Message and details as one sentence."""
        return f"{self.msg}; {self.details}" if self.details else self.msg


def shorten(text: str) -> str:
    """Cut a value that came from outside to a length that fits in a log line and a Kubernetes event."""
    return text if len(text) <= _LONGEST_ECHO else text[:_LONGEST_ECHO] + "..."


def quote(text: str) -> str:
    """Show a value that came from outside: shortened, in double quotes, all but plain ASCII escaped."""
    return quoted(shorten(text))
