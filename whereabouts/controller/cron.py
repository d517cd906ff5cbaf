"""Cron expressions as the Go plugin's reconciler takes them: five fields, ``@daily`` and its like, a zone.

The fields are read by cronsim; what stands around them is added here.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from whereabouts.errors import WhereaboutsError

DEFAULT = "30 4 * * *"
"""When nobody says otherwise: at half past four in the night."""

_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONES = ("TZ=", "CRON_TZ=")
_UNITS = {"s": 1, "m": 60, "h": 3600}
_LONGEST = 1000
"""Characters of an expression: of numbers with thousands of digits Python makes none."""


class CronError(WhereaboutsError, ValueError):
    """An expression that names no times."""


class Cron:
    """The times that an expression names."""

    def __init__(self, expression: str) -> None:
        """Read ``expression``; raises :class:`CronError`.

        ``TZ=Europe/Berlin`` or ``CRON_TZ=...`` before it names the zone, which else is UTC.
        """
        self._expression = expression
        if len(expression) > _LONGEST:
            raise CronError(f"cron expression {expression[:20]!r}...: it has more than {_LONGEST} characters")
        first, _, rest = expression.strip().partition(" ")
        self._zone: tzinfo = UTC
        if first.startswith(_ZONES):
            self._zone = _zone(first.partition("=")[2], expression)
        else:
            rest = expression.strip()
        self._every = _every(rest.strip(), expression)
        self._fields = _DESCRIPTORS.get(rest.strip(), rest.strip()).replace("?", "*")
        if self._every is None and len(self._fields.split()) != 5:
            raise CronError(f"cron expression {expression!r}: give five fields, or one of {_names()}")
        self.after(datetime(2024, 1, 1, tzinfo=UTC))

    def after(self, moment: datetime) -> datetime:
        """The first time after ``moment`` (which has a zone)."""
        try:
            if self._every is not None:
                return moment + self._every
            return next(CronSim(self._fields, moment.astimezone(self._zone)))
        except (StopIteration, OverflowError):
            raise CronError(f"cron expression {self._expression!r} names no time that will come") from None
        except CronSimError as error:
            raise CronError(f"cron expression {self._expression!r}: {error}") from error


def _zone(name: str, expression: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CronError(f"cron expression {expression!r}: there is no time zone {name!r}") from error


def _every(text: str, expression: str) -> timedelta | None:
    """The time between two of ``@every 1h30m``; None for another form."""
    word, _, duration = text.partition(" ")
    if word != "@every":
        return None
    seconds, number = 0, ""
    for character in duration.strip():
        if character.isdecimal() and character.isascii():
            number += character
        elif number and character in _UNITS:
            seconds += int(number) * _UNITS[character]
            number = ""
        else:
            break
    else:
        if seconds and not number:
            with suppress(OverflowError):
                return timedelta(seconds=seconds)
    raise CronError(f"cron expression {expression!r}: write the time as in @every 1h30m")


def _names() -> str:
    return ", ".join((*_DESCRIPTORS, "@every"))
