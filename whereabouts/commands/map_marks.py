"""What a report of ``whereabouts check`` has against the addresses of a range."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from whereabouts.addresses import AddressError, parse_address
from whereabouts.cells import State
from whereabouts.commands.new_file import FileError
from whereabouts.findings import REPORT_VERSION, ReportError
from whereabouts.pool import Pool

_SHOWN_ANYWAY = "excluded"
"""The kind of finding that a picture shows without a report."""


def read_marks(path: str, store: str, pool: Pool) -> dict[int, State]:
    """The states of addresses of a pool's space that a report tells of. Raises ReportError."""
    try:
        with open(path, "rb") as file:
            content = json.load(file)
        if content["version"] != REPORT_VERSION:
            raise ReportError(f"it is of version {content['version']}, this program knows {REPORT_VERSION}")
        if content["store"] != store:
            raise ReportError(f"it is about {content['store']}, and this is {store}")
        return dict(_marked(content["findings"], pool))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from error
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, AddressError) as error:
        raise ReportError(
            f"{path} is no report of whereabouts check ({type(error).__name__}: {error})"
        ) from error


def _marked(findings: Sequence[Mapping[str, Any]], pool: Pool) -> Iterator[tuple[int, State]]:
    version = ip_network(pool.key.range).version
    for finding in findings:
        release = finding["release"] or {}
        own_range = release.get("own_range", pool.space.own_range)
        here = (finding["network_name"], own_range) == tuple(pool.space)
        if finding["address"] and here and finding["kind"] != _SHOWN_ANYWAY:
            state = State.CONFLICT if finding["kind"] == "conflict" else State.SUSPECT
            address = parse_address(finding["address"])
            if address.version == version:
                yield int(address), state
