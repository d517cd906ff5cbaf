"""A headless Chromium, spoken to by its DevTools protocol over a pipe: what a person has of a page."""

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .suites import find_browser

LONG = 60.0


class Look(NamedTuple):
    """How a page is looked at."""

    width: int = 1100
    height: int = 900
    dark: bool = False


WIDE = Look()


class Seen(NamedTuple):
    """What came of looking at a page."""

    messages: list[str]
    """What the browser's console says: errors, and what the page's policy forbids."""
    requests: list[str]
    """The addresses of all requests that the page made."""
    text: str
    tables: dict[str, list[list[str]]]
    """The cells of each table, heads and all, by its caption."""
    roles: list[tuple[str, str]]
    """Roles and names of what a screen reader is told."""
    overflow: int
    """Pixels by which the page is wider than the window."""
    picture: bytes
    """All of the page, as PNG."""


TABLES = """JSON.stringify(Object.fromEntries([...document.querySelectorAll('table.list')].map(table =>
    [table.caption.textContent, [...table.rows].map(row =>
        [...row.cells].map(cell => cell.textContent))])))"""
OVERFLOW = """Math.max(document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ...[...document.querySelectorAll('body *')].map(one =>
        Math.ceil(one.getBoundingClientRect().right) - document.documentElement.clientWidth))"""


class Browser:
    """A running browser."""

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._rest = b""
        self._number = 0
        self._told: list[dict[str, Any]] = []

    def look(self, url: str, look: Look = WIDE) -> Seen:
        """Open a page, as a browser does in which scripts are off; those of this program run."""
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        session = attached["sessionId"]
        self._told.clear()
        for domain in ("Page", "Network", "Log", "Runtime", "Accessibility"):
            self._call(f"{domain}.enable", {}, session)
        self._call("Emulation.setScriptExecutionDisabled", {"value": True}, session)
        size = {"width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", size, session)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if look.dark else "light"}
        self._call("Emulation.setEmulatedMedia", {"features": [scheme]}, session)
        self._call("Page.navigate", {"url": url}, session)
        self._wait_for("Page.loadEventFired")
        seen = Seen(
            self._messages(),
            self._requests(),
            self._value("document.body.innerText", session),
            json.loads(self._value(TABLES, session)),
            self._roles(session),
            self._value(OVERFLOW, session),
            base64.b64decode(
                self._call("Page.captureScreenshot", {"captureBeyondViewport": True}, session)["data"]
            ),
        )
        self._call("Target.closeTarget", {"targetId": target})
        return seen

    def _messages(self) -> list[str]:
        found = []
        for message in self._told:
            if message["method"] == "Log.entryAdded":
                found.append(message["params"]["entry"]["text"])
            elif message["method"] == "Runtime.consoleAPICalled":
                found.append(json.dumps(message["params"]["args"]))
            elif message["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(message["params"]["exceptionDetails"]))
        return found

    def _requests(self) -> list[str]:
        return [
            message["params"]["request"]["url"]
            for message in self._told
            if message["method"] == "Network.requestWillBeSent"
        ]

    def _roles(self, session: str) -> list[tuple[str, str]]:
        nodes = self._call("Accessibility.getFullAXTree", {}, session)["nodes"]
        told = [node for node in nodes if not node["ignored"]]
        return [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in told]

    def _value(self, expression: str, session: str) -> Any:
        asked = {"expression": expression, "returnByValue": True}
        return self._call("Runtime.evaluate", asked, session)["result"]["value"]

    def _call(self, method: str, parameters: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._writing, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._told.append(answer)
        assert "error" not in answer, (method, answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, event: str) -> None:
        while event not in [message["method"] for message in self._told]:
            self._told.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + LONG
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the browser says nothing for {LONG:g} s"
            piece = os.read(self._reading, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the descriptors that the browser wants its own at."""
    low = os.pipe()
    reading, writing = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in low)
    for one in low:
        os.close(one)
    return reading, writing


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser that is started here, and ended with all that it has."""
    program = find_browser()
    assert program is not None
    reading, there = _pipe()
    here, writing = _pipe()
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"),
            f"--user-data-dir={profile}",
        ]
        # By the protocol it reads descriptor 3 and writes to 4.
        line = f'exec "$0" "$@" 3<&{here} 4>&{there}'
        process = subprocess.Popen(
            ["bash", "-c", line, program, *options, "about:blank"],
            pass_fds=[here, there],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": profile, "LC_ALL": "C.UTF-8"},
        )
        os.close(here)
        os.close(there)
        try:
            yield Browser(reading, writing)
        finally:
            os.close(writing)
            os.close(reading)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
