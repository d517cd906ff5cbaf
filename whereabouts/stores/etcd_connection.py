"""The connection to a cluster of etcd: endpoints, TLS, tokens, and sending again what is worth it.

A request goes to one member; when that does not answer, to the next. All requests are transactions that
are harmless when they arrive twice: a write is conditional on a revision that it changes itself. So a
request whose answer was lost is sent again, and the reply says that there was such a loss.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from threading import Lock
from typing import TypeAlias

# gRPC would write its own messages about connections to the plugin's standard error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc

from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import StoreDamaged, Unavailable, Unsettled
from whereabouts.stores import etcd_messages as messages
from whereabouts.stores.etcd_endpoints import Endpoint
from whereabouts.stores.etcd_failures import (
    DAMAGED,
    LOST,
    NOT_SENT,
    REFUSED,
    TOKEN,
    Failure,
    judge,
)
from whereabouts.values import NamedTuple

PATIENCE = 10.0
"""Seconds that a cluster may be away (an election takes one or two) before a request gives up."""
ATTEMPT = 5.0
"""Seconds that one member has to answer before the next one is asked."""
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 0.5

_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Certificates(NamedTuple):
    """Paths of PEM files; empty where there is none. Without an authority, gRPC's own roots are trusted."""

    authority: str = ""
    certificate: str = ""
    key: str = ""


class Reply(NamedTuple):
    """The answer to a transaction. ``lost``: it was sent before, and that answer never came."""

    outcome: messages.Outcome
    lost: bool


_Call: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"


class _Member:
    """An open channel to one endpoint."""

    __slots__ = ("authenticate", "channel", "transact")

    def __init__(self, endpoint: Endpoint, certificates: Certificates) -> None:
        if endpoint.secure:
            credentials = _credentials(certificates)
            self.channel = grpc.secure_channel(endpoint.target, credentials, options=_OPTIONS)
        else:
            self.channel = grpc.insecure_channel(endpoint.target, options=_OPTIONS)
        self.transact: _Call = self.channel.unary_unary(messages.TRANSACTION)
        self.authenticate: _Call = self.channel.unary_unary(messages.AUTHENTICATE)


class Connection:
    """Sends transactions to whichever member of a cluster answers. For any number of threads."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        certificates: Certificates,
        username: str,
        password: str,
        prefix: str,
        *,
        patience: float = PATIENCE,
    ) -> None:
        """A connection that is made when the first request is sent."""
        self._endpoints = endpoints
        self._certificates = certificates
        self._username = username
        self._password = password
        self._prefix = prefix
        self._patience = patience
        self._lock = Lock()
        self._current = 0
        self._members: dict[int, _Member] = {}
        self._token: str | None = None

    def close(self) -> None:
        """Close all channels."""
        with self._lock:
            members, self._members = list(self._members.values()), {}
        for member in members:
            member.channel.close()

    def transact(self, request: bytes, deadline: Deadline, *, writes: bool) -> Reply:
        """Send a transaction until it is answered.

        Raises Unavailable, StoreDamaged and DeadlineExceeded where it was not done, and Unsettled where
        it ``writes`` and may have been done.
        """
        patience = deadline.grace(self._patience)
        lost, pause = False, FIRST_PAUSE
        failure = Failure(NOT_SENT, f"etcd at {self._where()} was not asked")
        while True:
            try:
                answer = self._attempt(request, deadline.remaining(failure.sentence))
                if isinstance(answer, messages.Outcome):
                    return Reply(answer, lost)
                failure = answer
                lost |= failure.kind == LOST
                if failure.kind in (REFUSED, DAMAGED):
                    break
                if patience_is_over(patience):
                    break
                deadline.pause(pause, failure.sentence)
                pause = min(2 * pause, LONGEST_PAUSE)
            except DeadlineExceeded as error:
                if lost and writes:
                    raise Unsettled(str(error)) from error
                raise
        if lost and writes:
            raise Unsettled(failure.sentence)
        raise (StoreDamaged if failure.kind == DAMAGED else Unavailable)(failure.sentence)

    def _attempt(self, request: bytes, seconds: float) -> messages.Outcome | Failure:
        """Ask the current member. After a failure that another one may not have, the next is current."""
        seconds = min(seconds, ATTEMPT)
        try:
            index, member = self._member()
        except Unavailable as error:
            return Failure(REFUSED, str(error))
        where, sent, used = self._endpoints[index].target, False, self._token
        try:
            used = self._valid_token(member.authenticate, seconds)
            metadata = (("token", used),) if used else None
            sent = True
            return messages.outcome(member.transact(request, timeout=seconds, metadata=metadata))
        except messages.MessageError as error:
            return Failure(REFUSED, f"etcd at {where} gave an answer that cannot be read: {error}")
        except grpc.RpcError as error:
            failure = judge(error.code().name, error.details() or "", where, self._username, self._prefix)
        except ValueError:
            # gRPC's answer to a request on a channel that another thread has closed.
            failure = Failure(NOT_SENT, f"the connection to etcd at {where} was closed")
        if failure.kind == TOKEN:
            self._forget_token(used)
        elif failure.kind != REFUSED:
            self._leave(index, member)
        return failure if sent or failure.kind != LOST else failure._replace(kind=NOT_SENT)

    def _valid_token(self, authenticate: _Call, seconds: float) -> str:
        """The token of the user; empty where there is no user, or the cluster knows no users."""
        if not self._username:
            return ""
        token = self._token
        if token is None:
            request = messages.authenticate(self._username, self._password)
            try:
                token = messages.token(authenticate(request, timeout=seconds))
            except grpc.RpcError as error:
                if "authentication is not enabled" not in (error.details() or ""):
                    raise
                token = ""
            self._token = token
        return token

    def _forget_token(self, used: str | None) -> None:
        with self._lock:
            if self._token == used:
                self._token = None

    def _member(self) -> tuple[int, _Member]:
        with self._lock:
            index = self._current
            member = self._members.get(index)
            if member is None:
                member = self._members[index] = _Member(self._endpoints[index], self._certificates)
            return index, member

    def _leave(self, index: int, member: _Member) -> None:
        """Go on to the next endpoint. The channel is made anew when its turn comes again.

        With it the files of its certificates are read anew. It is not closed here: other threads may
        be waiting for answers on it.
        """
        with self._lock:
            if self._members.get(index) is member:
                del self._members[index]
                if self._current == index:
                    self._current = (index + 1) % len(self._endpoints)

    def _where(self) -> str:
        return ", ".join(endpoint.target for endpoint in self._endpoints)


def patience_is_over(patience: Deadline) -> bool:
    """Whether a deadline has passed."""
    try:
        patience.remaining("")
    except DeadlineExceeded:
        return True
    return False


def _credentials(certificates: Certificates) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_content("etcd_ca_cert_file", certificates.authority),
        private_key=_content("etcd_key_file", certificates.key),
        certificate_chain=_content("etcd_cert_file", certificates.certificate),
    )


def _content(key: str, path: str) -> bytes | None:
    if not path:
        return None
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise Unavailable(f"{key}: {path} cannot be read: {error.strerror}") from error
