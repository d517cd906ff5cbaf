"""The command line on the embedded store."""

import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from whereabouts.cli import main
from whereabouts.deadline import Deadline
from whereabouts.pool import Pool, PoolKey
from whereabouts.stores.sqlite import SqliteStore

from .cni_calls import CONSOLE
from .store_contract import SOON, add, allocations, demand, pod


def test_show_lists_ranges_with_used_and_free(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))
    for number in range(3):
        add(store, demand("10.0.0.0/24"), pod(number))
    add(store, demand("10.0.0.0/25"), pod(7))
    add(store, demand("fd00::/64", network_name="blue"), pod(8))
    store.close()
    assert main(["show", "--local", str(tmp_path / "w.db")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        ["NETWORK", "RANGE", "CAPACITY", "USED", "FREE", "USE%", "BLOCKS"],
        ["-", "10.0.0.0/24", "254", "4", "250", "1", "1"],
        ["-", "10.0.0.0/25", "126", "4", "122", "3", "1"],
        ["blue", "fd00::/64", str(2**64 - 2), "1", str(2**64 - 3), "0", "1"],
    ]


def test_show_makes_no_store_where_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--local", str(tmp_path / "w.db")]) == 1
    assert "does not exist: no embedded store gave an address there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_configuration_that_does_not_exist_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--config", str(tmp_path / "whereabouts.conf")]) == 1
    assert "whereabouts.conf does not exist" in capsys.readouterr().err


def test_what_a_terminal_would_obey_is_spelled_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "--local", str(tmp_path / "\x1b[2J")]) == 1
    path = str(tmp_path / "w.db")
    with closing(SqliteStore(path, Deadline(SOON))) as store:
        store.create_pool(Pool(PoolKey("\x1b[2J", "10.0.0.0/24"), True), Deadline(SOON))
    main(["show", "--local", path, "--address", "10.0.0.1"])
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert shown.count("\\x1b[2J") == 2


def test_what_has_no_dry_run_refuses_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--from-etcd-v0", "--dry-run"]) == 1
    assert "--from-etcd-v0 has no --dry-run" in capsys.readouterr().err


def test_without_a_command_the_versions_are_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[1] == (
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"
    )


@pytest.mark.parametrize(
    ("closed", "arguments", "status"),
    [
        ("0<&-", "release --local w.db 10.0.0.1", 2),
        ("0<&-", "import --local w.db", 1),
        ("0<&-", "reconcile --local w.db --valid-attachments - --all-nodes", 2),
        ("1>&-", "show --local w.db", 0),
        ("2>&-", "show --local none.db", 1),
        ("0<&- 1>&- 2>&-", "release --local w.db 10.0.0.1 --yes", 1),
    ],
)
def test_a_standard_stream_that_is_closed_is_an_empty_one(
    tmp_path: Path, closed: str, arguments: str, status: int
) -> None:
    with closing(SqliteStore(str(tmp_path / "w.db"), Deadline(SOON))) as store:
        add(store, demand("10.0.0.0/24"), pod(0))
    line = f"{CONSOLE} {arguments} {closed}"
    run = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, "Traceback" in run.stderr) == (status, False)


def test_a_question_that_is_broken_off_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient:
        def isatty(self) -> bool:
            return True

        def readline(self) -> str:
            raise KeyboardInterrupt

    path = str(tmp_path / "w.db")
    with closing(SqliteStore(path, Deadline(SOON))) as store:
        add(store, demand("10.0.0.0/24"), pod(0))
        monkeypatch.setattr("sys.stdin", Impatient())
        assert main(["release", "10.0.0.1", "--force", "--local", path]) == 130
        assert len(allocations(store)) == 1
    assert capsys.readouterr().out.endswith("[y/N] ")


def test_output_that_cannot_be_written_is_said_in_a_sentence() -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [CONSOLE, "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.returncode == 1
    assert run.stderr == "whereabouts: No space left on device: the output is not whole\n"
