"""Files of a directory that are replaced whole, on behalf of readers that may come at any moment."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from whereabouts.install.errors import InstallError

_ATTEMPTS = 3

_ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "raise the quota of that disk",
    errno.EFBIG: "raise the limit on file sizes of this process (ulimit -f)",
    errno.EROFS: "mount it writable",
    errno.EACCES: "run this as root",
    errno.EPERM: "run this as root",
    errno.EISDIR: "remove the directory of that name",
    errno.ENOTDIR: "it has to be a directory, and not a symbolic link to one",
    errno.ELOOP: "it has to be a directory, and not a symbolic link to one",
}


class Directory:
    """An open directory.

    Its files are named by their bare names, and a symbolic link in a file's place is never followed: it is
    not read, and it is replaced or removed itself. Whatever the system refuses is an InstallError.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        """Take over the open directory ``descriptor``; ``path`` is what people are told."""
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def at(cls, path: str) -> Directory:
        """Open the directory ``path``, made with its parents (0755) where it is missing."""
        with _explained("making", path):
            _make(os.path.abspath(path))
        return cls.existing(path)

    @classmethod
    def existing(cls, path: str) -> Directory:
        """Open the directory ``path``."""
        with _explained("opening", path):
            return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def make(self, name: str) -> None:
        """Make a directory (0755) in this one, if nothing of that name is there."""
        with _explained("making", self._path_of(name)), suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=self._descriptor)
            os.fsync(self._descriptor)

    def inner(self, name: str) -> Directory:
        """Open a directory in this one; a symbolic link to a directory is refused."""
        path = self._path_of(name)
        with _explained("opening", path):
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return Directory(path, os.open(name, flags, dir_fd=self._descriptor))

    def __enter__(self) -> Directory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def has(self, name: str) -> bool:
        """Whether there is anything of that name, of whatever kind."""
        try:
            os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _explanation("looking at", self._path_of(name), error) from error
        return True

    def read(self, name: str, limit: int) -> bytes | None:
        """The first ``limit`` bytes of a file; None if there is no regular file of that name."""
        with self._regular_file(name) as descriptor:
            return None if descriptor is None else _read(descriptor, limit)

    def replace(self, name: str, content: bytes, mode: int) -> bool:
        """Give a file this content and these permissions, unless it has them; True if it was written.

        Whoever opens the name gets all of the old or all of the new content, at every moment and after a
        crash; nobody whom ``mode`` does not let read it can have it open before. On failure nothing is left
        behind, and the old file is untouched, except if only the new one's place could not be made durable.
        """
        if self._holds(name, content, mode):
            return False
        for _ in range(_ATTEMPTS - 1):
            # Another installer may just be sweeping, and take this file for one that was left behind.
            with suppress(FileNotFoundError):
                self._replace(name, content, mode)
                return True
        with _explained("writing", self._path_of(name)):
            self._replace(name, content, mode)
        return True

    def remove(self, name: str) -> bool:
        """Remove a file, or a symbolic link; False if there was none."""
        with _explained("removing", self._path_of(name)):
            try:
                os.unlink(name, dir_fd=self._descriptor)
            except FileNotFoundError:
                return False
            os.fsync(self._descriptor)
        return True

    def remove_inner(self, name: str) -> bool:
        """Remove a directory in this one; False if it is not empty, or not there."""
        try:
            os.rmdir(name, dir_fd=self._descriptor)
        except OSError:
            return False
        return True

    def sweep(self, name: str) -> None:
        """Remove what a :meth:`replace` of that name left behind when its process was killed."""
        unfinished = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.new")
        with _explained("listing", self.path):
            found = [entry for entry in os.listdir(self._descriptor) if unfinished.fullmatch(entry)]
        for entry in found:
            self.remove(entry)

    def _replace(self, name: str, content: bytes, mode: int) -> None:
        """FileNotFoundError if somebody removed the new file before it had its name."""
        temporary = f".{name}.{secrets.token_hex(8)}.new"
        with _explained("writing", self._path_of(name), but_not=FileNotFoundError):
            try:
                self._write(temporary, content, mode)
                os.replace(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=self._descriptor)
                raise
            os.fsync(self._descriptor)

    def _write(self, name: str, content: bytes, mode: int) -> None:
        """Create a file. It is closed in the end: nobody can start a program that is open for writing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=self._descriptor)
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _holds(self, name: str, content: bytes, mode: int) -> bool:
        with self._regular_file(name) as descriptor:
            if descriptor is None:
                return False
            found = os.fstat(descriptor)
            mine = (
                found.st_uid == os.geteuid() and found.st_nlink == 1 and stat.S_IMODE(found.st_mode) == mode
            )
            return mine and found.st_size == len(content) and _read(descriptor, len(content)) == content

    @contextmanager
    def _regular_file(self, name: str) -> Iterator[int | None]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _explained("reading", self._path_of(name)):
            try:
                descriptor = os.open(name, flags, dir_fd=self._descriptor)
            except OSError as error:
                # ELOOP is a symbolic link, ENXIO a socket.
                if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                    raise
                descriptor = None
            try:
                regular = descriptor is not None and stat.S_ISREG(os.fstat(descriptor).st_mode)
                yield descriptor if regular else None
            finally:
                if descriptor is not None:
                    os.close(descriptor)

    def _path_of(self, name: str) -> str:
        return os.path.join(self.path, name)


def _make(path: str) -> None:
    """As os.makedirs, which leaves the permissions of parents to the umask."""
    if os.path.isdir(path):
        return
    _make(os.path.dirname(path))
    with suppress(FileExistsError):
        os.mkdir(path, 0o755)


def _read(descriptor: int, limit: int) -> bytes:
    content = b""
    while len(content) < limit and (more := os.read(descriptor, limit - len(content))):
        content += more
    return content


@contextmanager
def _explained(doing: str, path: str, but_not: type[OSError] | None = None) -> Iterator[None]:
    """Turn what the system says into a sentence."""
    try:
        yield
    except OSError as error:
        if but_not is not None and isinstance(error, but_not):
            raise
        raise _explanation(doing, path, error) from error


def _explanation(doing: str, path: str, error: OSError) -> InstallError:
    advice = _ADVICE.get(error.errno or 0)
    return InstallError(f"{doing} {path}: {error.strerror}" + (f": {advice}" if advice else ""))
