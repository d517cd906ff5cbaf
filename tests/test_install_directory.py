"""A file of the host is whole at every moment, readable by nobody too early, and nobody else's."""

import errno
import os
import resource
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from whereabouts.install.directory import Directory
from whereabouts.install.errors import InstallError

from .processes import end_of, ending, fork

OLD, NEW = b"old\n" * 100, b"new!\n" * 20_000
STEPS = ("open", "write", "fchmod", "fsync", "close", "replace")
"""What the system is asked for on the way to a new file."""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    with Directory.existing(str(tmp_path)) as opened:
        yield opened


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mode, found.st_mtime_ns, found.st_ctime_ns


def _failing(step: str, fail: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the first call of ``step`` for a new file fail."""
    real = getattr(os, step)

    def failing(*args: Any, **kwargs: Any) -> Any:
        if step == "open" and not args[1] & os.O_CREAT:
            return real(*args, **kwargs)
        if step == "close" and not os.get_blocking(args[0]):  # the old file, which was only looked at
            return real(*args, **kwargs)
        return fail()

    monkeypatch.setattr(os, step, failing)


def test_a_new_file_has_its_content_and_exactly_its_mode_whatever_the_umask(
    directory: Directory, tmp_path: Path, no_umask: None
) -> None:
    for mode in (0o600, 0o640, 0o755):
        assert directory.replace("file", NEW, mode)
        assert (tmp_path / "file").read_bytes() == NEW
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert os.listdir(tmp_path) == ["file"]


def test_directories_are_made_with_0755_whatever_the_umask(tmp_path: Path, no_umask: None) -> None:
    with Directory.at(str(tmp_path / "a" / "b")) as opened:
        opened.make("c")
    for made in ("a", "a/b", "a/b/c"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o755


def test_nobody_else_can_open_a_secret_before_it_has_its_mode(
    directory: Directory, tmp_path: Path, no_umask: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    for step in ("write", "fchmod", "fsync", "replace"):
        real = getattr(os, step)

        def spying(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            seen.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())
            return real(*args, **kwargs)

        monkeypatch.setattr(os, step, spying)
    directory.replace("secret", NEW, 0o600)
    assert len(seen) >= 4
    assert set(seen) == {0o600}


def test_what_is_already_right_keeps_its_inode(directory: Directory, tmp_path: Path) -> None:
    assert directory.replace("file", NEW, 0o600)
    before = _identity(tmp_path / "file")
    assert not directory.replace("file", NEW, 0o600)
    assert _identity(tmp_path / "file") == before


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.chmod(0o644),
        lambda path: os.chown(path, 1234, -1),
        lambda path: os.link(path, path.with_name("second name")),
        lambda path: path.write_bytes(NEW[:-1] + b"?"),
        lambda path: path.write_bytes(NEW + b"?"),
    ],
    ids=["mode", "owner", "hard link", "one byte", "longer"],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away: needs root")
def test_a_file_that_differs_in_anything_is_replaced(
    directory: Directory, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "file"
    directory.replace("file", NEW, 0o600)
    spoil(path)
    before = path.stat().st_ino
    assert directory.replace("file", NEW, 0o600)
    after = path.stat()
    assert after.st_ino != before
    assert (after.st_uid, after.st_nlink, stat.S_IMODE(after.st_mode)) == (os.geteuid(), 1, 0o600)
    assert path.read_bytes() == NEW


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_fails_leaves_the_old_file_and_nothing_else(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    directory.replace("file", OLD, 0o600)
    before = _identity(tmp_path / "file")

    def no_room() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        _failing(step, no_room, patched)
        with pytest.raises(InstallError, match="file: No space left on device: make room on that disk"):
            directory.replace("file", NEW, 0o600)
    assert os.listdir(tmp_path) == ["file"]
    assert _identity(tmp_path / "file") == before
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_disk_that_fills_up_in_the_middle_leaves_the_old_file(directory: Directory, tmp_path: Path) -> None:
    directory.replace("file", OLD, 0o600)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(NEW) // 2, hard))
    try:
        with pytest.raises(InstallError, match="File too large: raise the limit"):
            directory.replace("file", NEW, 0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "file").read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def _replace_and_die_at(step: str, folder: Path) -> None:
    with Directory.existing(str(folder)) as directory:
        _failing(step, lambda: os._exit(137), pytest.MonkeyPatch())
        directory.replace("file", NEW, 0o600)


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_leaves_the_old_file_and_what_the_next_one_sweeps(
    directory: Directory, tmp_path: Path, step: str
) -> None:
    directory.replace("file", OLD, 0o600)
    foreign = {".file.new", ".other.0123456789abcdef.new", "file.0123456789abcdef.new"}
    for name in foreign:
        (tmp_path / name).touch()
    assert end_of(fork(_replace_and_die_at, step, tmp_path)) == 137
    assert (tmp_path / "file").read_bytes() == OLD
    left = set(os.listdir(tmp_path)) - {"file"} - foreign
    assert len(left) == (step != "open")
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in left} <= {0o600}
    directory.sweep("file")
    assert set(os.listdir(tmp_path)) == {"file"} | foreign


def test_a_sweep_by_another_installer_costs_nothing_but_a_second_try(
    directory: Directory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sweeps = os.replace, iter([True, True, False])

    def swept(*args: Any, **kwargs: Any) -> None:
        if next(sweeps):
            directory.sweep("file")
        real(*args, **kwargs)

    monkeypatch.setattr(os, "replace", swept)
    assert directory.replace("file", NEW, 0o600)
    assert (tmp_path / "file").read_bytes() == NEW


def test_a_symbolic_link_is_replaced_and_its_target_untouched(directory: Directory, tmp_path: Path) -> None:
    target = tmp_path / "shadow"
    target.write_bytes(OLD)
    (tmp_path / "file").symlink_to(target)
    assert directory.read("file", 10) is None
    assert directory.replace("file", NEW, 0o600)
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "file").read_bytes() == NEW
    assert target.read_bytes() == OLD


def test_a_link_to_the_right_content_is_replaced_too(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(NEW)
    (tmp_path / "copy").chmod(0o600)
    (tmp_path / "file").symlink_to("copy")
    assert directory.replace("file", NEW, 0o600)
    assert not (tmp_path / "file").is_symlink()


def test_a_removed_link_leaves_its_target(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    (tmp_path / "file").symlink_to("target")
    assert directory.remove("file")
    assert not directory.remove("file")
    assert os.listdir(tmp_path) == ["target"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "directory"])
def test_what_is_no_file_is_not_read_and_not_waited_for(
    directory: Directory, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "file")
    assert directory.read("file", 10) is None
    assert directory.has("file")


def test_a_directory_in_the_place_of_a_file_is_said(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(InstallError, match=r"writing .*/file: Is a directory: remove the directory"):
        directory.replace("file", NEW, 0o600)
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_in_the_place_of_an_inner_directory_is_refused(directory: Directory, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inner").symlink_to("elsewhere")
    directory.make("inner")
    with pytest.raises(InstallError, match=r"/inner: .* not a symbolic link"):
        directory.inner("inner")


def test_a_program_that_runs_is_replaced_and_runs_on(directory: Directory, tmp_path: Path) -> None:
    directory.replace("program", Path("/bin/sleep").resolve().read_bytes(), 0o755)
    with ending(subprocess.Popen([tmp_path / "program", "60"])) as running:
        directory.replace("program", Path("/bin/true").resolve().read_bytes(), 0o755)
        assert subprocess.run([tmp_path / "program"], check=False).returncode == 0
        assert running.poll() is None


def _replace_again_and_again(folder: Path, program: bytes) -> None:
    with Directory.existing(str(folder)) as directory:
        for filler in range(50):
            assert directory.replace("program", program + bytes(filler), 0o755) == (filler > 0)


def test_a_program_can_be_started_at_every_moment_of_its_replacement(
    directory: Directory, tmp_path: Path
) -> None:
    """A program that somebody still has open for writing would not start (ETXTBSY)."""
    program = Path("/bin/true").resolve().read_bytes()
    directory.replace("program", program, 0o755)
    writer = fork(_replace_again_and_again, tmp_path, program)
    while writer.is_alive():
        subprocess.run([tmp_path / "program"], check=True)
    assert end_of(writer) == 0
