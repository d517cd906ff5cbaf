"""What an error of etcd means for a request: was it done, is it worth another try, who has to act.

Code and text are those of gRPC and of etcd's ``rpctypes/error.go``. Whatever is not known there counts
as an answer that was lost: the request may have been done.
"""

from __future__ import annotations

from whereabouts.values import NamedTuple

NOT_SENT = "not sent"
"""The endpoint could not be reached: another one, or the same one later."""
NOT_DONE = "not done"
"""The server had no time for it: again later."""
LOST = "lost"
"""It may have been done or not: sending it again tells."""
TOKEN = "token"  # noqa: S105
"""Not done, because the token is not valid any more: again with a new one."""
REFUSED = "refused"
"""Not done, and not going to be done until somebody changes something."""
DAMAGED = "damaged"
"""The server cannot be trusted until somebody has looked at it."""


class Failure(NamedTuple):
    """What became of a request (one of the constants above), and the sentence for a person."""

    kind: str
    sentence: str


_NEVER_CONNECTED = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "DNS resolution failed",
    "empty address list",
)
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old")
_NO_TOKEN = "user name is empty"  # noqa: S105


def judge(code: str, details: str, where: str, user: str, prefix: str) -> Failure:
    """Judge an error by the name of its gRPC status code and its text.

    ``where`` is the endpoint, ``user`` the user's name or empty, ``prefix`` the prefix of the keys.
    """
    if any(text in details for text in _OLD_TOKEN):
        return Failure(TOKEN, f"etcd at {where} does not take its own token of user {user}: {details}")
    if _NO_TOKEN in details:
        if user:
            return Failure(TOKEN, f"etcd at {where} asks for a token")
        return Failure(REFUSED, f"etcd at {where} asks for a user: set etcd_username and etcd_password")
    refusal = _refusal(code, details, where, user, prefix)
    if refusal:
        return Failure(REFUSED, refusal)
    if code == "DATA_LOSS":
        return Failure(
            DAMAGED, f"etcd at {where} says that its data are damaged ({details}): look at its log"
        )
    if code == "UNAVAILABLE" and any(text in details for text in _NEVER_CONNECTED):
        return Failure(NOT_SENT, f"etcd at {where} cannot be reached: {_reason(details)}")
    if "too many requests" in details:
        return Failure(NOT_DONE, f"etcd at {where} has too many requests")
    return Failure(LOST, f"etcd at {where} did not answer: {details or code}")


def _refusal(code: str, details: str, where: str, user: str, prefix: str) -> str:
    if "database space exceeded" in details:
        return (
            f"etcd at {where} has no space left and takes no writes (alarm NOSPACE): compact and "
            "defragment it or raise its --quota-backend-bytes, then run 'etcdctl alarm disarm'"
        )
    if "authentication failed" in details:
        return f"etcd at {where} does not accept user {user} with the given etcd_password"
    if code == "PERMISSION_DENIED":
        return (
            f"etcd at {where} does not let user {user} at the keys under {prefix}: grant a role of that user "
            f"read and write with 'etcdctl role grant-permission ROLE --prefix=true readwrite {prefix}'"
        )
    if "too many operations" in details:
        return f"etcd at {where} takes too few operations in a transaction: raise its --max-txn-ops to 128"
    if code == "UNIMPLEMENTED":
        return f"what answers at {where} is not an etcd server of version 3.3 or later: look at etcd_host"
    if code in ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND", "UNAUTHENTICATED"):
        return f"etcd at {where} refuses the request: {details}"
    return ""


def _reason(details: str) -> str:
    """The last cause in gRPC's chain of them: ``Connection refused``, what is wrong with a certificate."""
    cause = details.rpartition("last error: ")[2]
    for status in ("UNKNOWN: ", "UNAVAILABLE: "):
        cause = cause.removeprefix(status)
    return cause
