"""The name of the node: from the environment, the installation, or the host."""

import pytest

from tests.config_cases import MemoryFiles, loaded
from whereabouts.config import ConfigError, node_name

INSTALLED = "/etc/cni/net.d/whereabouts.d"
HOST = {"/etc/hostname": b"host-1\n", "/proc/sys/kernel/hostname": b"kernel-1\n"}


def name(contents: dict[str, bytes | Exception], variable: str | None = None, path: str = INSTALLED) -> str:
    files = MemoryFiles(contents)
    environment = {} if variable is None else {"NODENAME": variable}
    return node_name(environment, files, loaded({"configuration_path": path}))


def test_variable_comes_first_and_is_trimmed() -> None:
    assert name({f"{INSTALLED}/nodename": b"installed", **HOST}, " node-1\n") == "node-1"


@pytest.mark.parametrize("variable", [None, "", "  "])
@pytest.mark.parametrize("path", [INSTALLED, f"{INSTALLED}/", f"{INSTALLED}/whereabouts.conf"])
def test_file_of_the_installation_comes_second(variable: str | None, path: str) -> None:
    assert name({f"{INSTALLED}/nodename": b" node-2.example.org\n", **HOST}, variable, path) == (
        "node-2.example.org"
    )


@pytest.mark.parametrize("content", [None, b"", b" \n"])
def test_host_comes_last(content: bytes | None) -> None:
    installed: dict[str, bytes | Exception] = {} if content is None else {f"{INSTALLED}/nodename": content}
    assert name({**installed, **HOST}) == "host-1"
    assert name({**installed, "/proc/sys/kernel/hostname": b"kernel-1\n"}) == "kernel-1"
    assert name(dict(HOST), path="") == "host-1"


def test_only_the_start_of_a_file_is_looked_at() -> None:
    assert name({f"{INSTALLED}/nodename": b"n" * 5000}) == "n" * 1024


def test_node_without_a_name_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="NODENAME"):
        name({})


@pytest.mark.parametrize("content", [b"two names", b"two\nlines", b"a\x00b"])
def test_impossible_name_is_an_error_that_says_where_it_stands(content: bytes) -> None:
    with pytest.raises(ConfigError, match=f"^{INSTALLED}/nodename: "):
        name({f"{INSTALLED}/nodename": content})
    with pytest.raises(ConfigError, match=r"^the variable NODENAME: "):
        name({}, content.decode())


def test_file_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nodename: Permission denied"):
        name({f"{INSTALLED}/nodename": PermissionError(13, "Permission denied"), **HOST})
