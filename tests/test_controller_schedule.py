"""When the reconciler runs: expressions, where they stand, and how they change."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from whereabouts.controller.cron import DEFAULT, Cron, CronError
from whereabouts.controller.schedule import CRON_FILE, CRON_VARIABLE, Schedule, expression_source
from whereabouts.log import SILENT, Log

from .config_cases import MemoryFiles

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday
FLAT_FILE = "/etc/cni/net.d/whereabouts.d/whereabouts.conf"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (DEFAULT, datetime(2026, 3, 3, 4, 30, tzinfo=UTC)),
        ("*/5 * * * *", NOON + timedelta(minutes=5)),
        ("0 9-17/2 * * MON-FRI", datetime(2026, 3, 2, 13, 0, tzinfo=UTC)),
        ("0 0 1 jan ?", datetime(2027, 1, 1, tzinfo=UTC)),
        ("@hourly", NOON + timedelta(hours=1)),
        ("@daily", datetime(2026, 3, 3, tzinfo=UTC)),
        ("@weekly", datetime(2026, 3, 8, tzinfo=UTC)),
        ("@every 1h30m", NOON + timedelta(minutes=90)),
        ("TZ=America/New_York 30 9 * * *", datetime(2026, 3, 2, 14, 30, tzinfo=UTC)),
        ("CRON_TZ=Asia/Tokyo @daily", datetime(2026, 3, 2, 15, 0, tzinfo=UTC)),
    ],
)
def test_an_expression_names_the_next_time(expression: str, expected: datetime) -> None:
    assert Cron(expression).after(NOON) == expected


@pytest.mark.parametrize(
    "expression",
    [
        *("", "nonsense", "* * * *", "0 0 30 2 *", "61 * * * *", "* * * * * *", "@sometimes"),
        *("@every", "@every 5", "@every 0s", "@every 1x"),
        *("@every 99999999h", f"@every {'9' * 20}h", f"@every {'9' * 5000}h", f"0 0 {'9' * 5000} * *"),
        *("TZ=Mars/Olympus @daily", "TZ= @daily", "TZ=../../etc/passwd @daily"),
    ],
)
def test_an_expression_that_names_no_time_is_refused_with_its_text(expression: str) -> None:
    with pytest.raises(CronError, match="cron expression"):
        Cron(expression)


def test_a_time_is_due_once_however_late_the_question_comes() -> None:
    schedule = Schedule(lambda: "*/5 * * * *", SILENT, NOON)
    assert not schedule.due(NOON + timedelta(minutes=4))
    assert schedule.due(NOON + timedelta(minutes=23))
    assert not schedule.due(NOON + timedelta(minutes=24))
    assert schedule.due(NOON + timedelta(minutes=25))


def test_a_changed_expression_holds_from_the_next_question_on() -> None:
    texts = iter(["@daily", "@daily", "@hourly", "@hourly"])
    schedule = Schedule(lambda: next(texts), SILENT, NOON)
    assert not schedule.due(NOON + timedelta(minutes=1))
    assert not schedule.due(NOON + timedelta(minutes=2))
    assert schedule.due(NOON + timedelta(hours=1))


def test_a_bad_expression_keeps_the_schedule_and_is_told_once() -> None:
    lines: list[str] = []
    texts: Iterator[str] = iter(["@hourly", "every now and then", "every now and then", "@daily"])
    schedule = Schedule(lambda: next(texts), Log("error", lines.append), NOON)
    assert not schedule.due(NOON + timedelta(minutes=1))
    assert schedule.due(NOON + timedelta(hours=1))
    assert len(lines) == 1
    assert "'every now and then'" in lines[0]
    assert "stays as it was" in lines[0]
    assert not schedule.due(NOON + timedelta(hours=2))


def test_a_bad_expression_that_comes_back_is_told_again() -> None:
    lines: list[str] = []
    texts: Iterator[str] = iter(["@hourly", "bad", "@hourly", "bad"])
    schedule = Schedule(lambda: next(texts), Log("error", lines.append), NOON)
    for minute in range(1, 4):
        schedule.due(NOON + timedelta(minutes=minute))
    assert len(lines) == 2


def test_a_bad_first_expression_leaves_the_default() -> None:
    assert Schedule(lambda: "bad", SILENT, NOON).next == Cron(DEFAULT).after(NOON)


@pytest.mark.parametrize(
    ("files", "environment", "expected"),
    [
        (
            {CRON_FILE: "@hourly\n", FLAT_FILE: '{"reconciler_cron_expression": "@daily"}'},
            "@weekly",
            "@hourly",
        ),
        ({FLAT_FILE: '{"reconciler_cron_expression": "@daily"}'}, "@weekly", "@daily"),
        ({CRON_FILE: " \n", FLAT_FILE: "{}"}, "@weekly", "@weekly"),
        ({FLAT_FILE: "{}"}, "", DEFAULT),
        ({}, "", DEFAULT),
    ],
)
def test_the_expression_stands_in_the_first_place_that_has_one(
    files: dict[str, str], environment: str, expected: str
) -> None:
    kept = MemoryFiles({path: text.encode() for path, text in files.items()})
    assert expression_source(CRON_FILE, kept, {CRON_VARIABLE: environment})() == expected


def test_a_flat_file_that_cannot_be_read_keeps_the_schedule_and_is_told_once() -> None:
    lines: list[str] = []
    files = MemoryFiles({FLAT_FILE: b'{"reconciler_cron_expression": "@hourly"}'})
    schedule = Schedule(expression_source(CRON_FILE, files, {}), Log("error", lines.append), NOON)
    files.contents[FLAT_FILE] = b"{"
    assert not schedule.due(NOON + timedelta(minutes=1))
    assert schedule.due(NOON + timedelta(hours=1))
    assert len(lines) == 1
    assert FLAT_FILE in lines[0]
