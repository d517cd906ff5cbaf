"""Reading the host's files: bounded, regular files only, never waiting."""

import os
from pathlib import Path

import pytest

from whereabouts.config.host_files import LARGEST, HostFiles

FILES = HostFiles()


def test_regular_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for content in (b"", b"x", b"y" * LARGEST):
        path.write_bytes(content)
        assert FILES.read(str(path)) == content


def test_file_that_does_not_exist_is_none(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    for path in (tmp_path / "g", tmp_path / "g" / "h", tmp_path / "f" / "g"):
        assert FILES.read(str(path)) is None


def test_file_beyond_the_bound_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * (LARGEST + 1))
    with pytest.raises(OSError, match="larger than"):
        FILES.read(str(path))


def test_kernel_file_without_a_size_is_read() -> None:
    assert FILES.read("/proc/sys/kernel/hostname") == os.uname().nodename.encode() + b"\n"


def test_fifo_and_device_are_errors_at_once(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (str(fifo), "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            FILES.read(path)


def test_directory_is_an_error_and_is_known_as_one(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        FILES.read(str(tmp_path))
    assert FILES.is_directory(str(tmp_path))
    assert not FILES.is_directory(str(tmp_path / "missing"))
    assert not FILES.is_directory("/etc/hostname\0")
