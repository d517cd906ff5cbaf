"""The status page as the HTTP server has it: who may ask how, and what stands around the answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from threading import BoundedSemaphore
from typing import Protocol
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from whereabouts.controller import page
from whereabouts.controller.board import Board
from whereabouts.controller.status_facts import Process, Status, as_json

AT_ONCE = 4
"""Questions that are answered at once; those beyond are told to come again."""

_PROTECTION = [
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", page.POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]
_PLAIN = "text/plain; charset=utf-8"


class Holder(Protocol):
    """Who does the work of the controller: a :class:`~whereabouts.cluster.lease.Lease`."""

    identity: str

    @property
    def held(self) -> bool:
        """Whether it is this process."""

    @property
    def holder(self) -> str:
        """The identity of the one; empty where that is not known."""


def pages(board: Board, holder: Holder) -> Mapping[str, WSGIApplication]:
    """The pages by their paths."""
    turns = BoundedSemaphore(AT_ONCE)

    def facts() -> tuple[Process, Status]:
        status = board.status()
        return Process(holder.identity, holder.held, holder.holder), status

    return {
        "/status": _Page(facts, turns, "text/html; charset=utf-8", page.render),
        "/status.json": _Page(facts, turns, "application/json", _document),
    }


def _document(process: Process, status: Status) -> bytes:
    return json.dumps(as_json(process, status), indent=2).encode() + b"\n"


class _Page:
    """One form of the page. It is made once for whatever is known."""

    def __init__(
        self,
        facts: Callable[[], tuple[Process, Status]],
        turns: BoundedSemaphore,
        kind: str,
        render: Callable[[Process, Status], bytes],
    ) -> None:
        self._facts = facts
        self._turns = turns
        self._kind = kind
        self._render = render
        self._made: tuple[Process, Status, bytes] | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            allowed = [("Allow", "GET, HEAD")]
            return _answer(start_response, "405 Method Not Allowed", _PLAIN, b"GET or HEAD\n", allowed)
        if not self._turns.acquire(blocking=False):
            later = [("Retry-After", "1")]
            return _answer(start_response, "503 Service Unavailable", _PLAIN, b"Try again.\n", later)
        try:
            content = self._content()
        finally:
            self._turns.release()
        sent = _answer(start_response, "200 OK", self._kind, content)
        return sent if method == "GET" else []

    def _content(self) -> bytes:
        process, status = self._facts()
        made = self._made
        if made is None or made[0] != process or made[1] is not status:
            made = self._made = process, status, self._render(process, status)
        return made[2]


def _answer(
    start_response: StartResponse,
    status: str,
    kind: str,
    content: bytes,
    more: Iterable[tuple[str, str]] = (),
) -> list[bytes]:
    length = str(len(content))
    start_response(status, [("Content-Type", kind), ("Content-Length", length), *_PROTECTION, *more])
    return [content]
