"""The flat file: where it is looked for, and what is said when it cannot be read."""

import json

import pytest

from tests.config_cases import NO_FILES, MemoryFiles, loaded
from whereabouts.config import ConfigError
from whereabouts.config.flat_file import FLAT_FILES

OWN = "/opt/w/my.conf"


def conf(name: str) -> bytes:
    return json.dumps({"network_name": name}).encode()


def test_host_without_a_flat_file_needs_none() -> None:
    files = MemoryFiles()
    assert loaded({}, files) == loaded({}, NO_FILES)
    assert files.read_paths == list(FLAT_FILES)


@pytest.mark.parametrize("start", range(3))
def test_first_file_that_exists_counts_and_no_other(start: int) -> None:
    files = MemoryFiles({path: conf(f"n{index}") for index, path in enumerate(FLAT_FILES) if index >= start})
    assert loaded({}, files).network_name == f"n{start}"
    assert files.read_paths == list(FLAT_FILES[: start + 1])


def test_configuration_path_may_be_a_file_which_is_looked_at_first() -> None:
    files = MemoryFiles({OWN: conf("own"), FLAT_FILES[0]: conf("other")})
    assert loaded({"configuration_path": OWN}, files).network_name == "own"


@pytest.mark.parametrize("path", ["/opt/w", "/opt/w/"])
def test_configuration_path_may_be_a_directory_with_a_flat_file(path: str) -> None:
    files = MemoryFiles({"/opt/w/whereabouts.conf": conf("own"), FLAT_FILES[0]: conf("other")})
    config = loaded({"configuration_path": path}, files)
    assert config.network_name == "own"
    assert config.configuration_path == path


@pytest.mark.parametrize("contents", [{}, {"/opt/w/my.conf/nodename": b"n"}])
def test_configuration_path_without_a_flat_file_leads_to_the_next_place(contents: dict[str, bytes]) -> None:
    files = MemoryFiles({**contents, FLAT_FILES[1]: conf("other")})
    config = loaded({"configuration_path": OWN}, files)
    assert config.network_name == "other"
    (warning,) = config.warnings
    assert OWN in warning


def test_configuration_path_of_the_flat_file_is_no_other_flat_file() -> None:
    files = MemoryFiles(
        {FLAT_FILES[1]: json.dumps({"configuration_path": OWN}).encode(), OWN: conf("never looked at")}
    )
    config = loaded({}, files)
    assert (config.configuration_path, config.network_name) == (OWN, "")


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            PermissionError(13, "Permission denied"),
            f"error opening flat configuration file @ {FLAT_FILES[1]} with: Permission denied",
        ),
        (
            OSError("it is not a regular file"),
            f"error opening flat configuration file @ {FLAT_FILES[1]} with: it is not a regular file",
        ),
        (
            IsADirectoryError(21, "Is a directory"),
            f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - io.ReadAll error: Is a directory",
        ),
        (b"[]", f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - JSON Parsing Error: "),
        (b"", f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - JSON Parsing Error: "),
        (
            b'{"etcd_password": "hunter2",}',
            f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - JSON Parsing Error: ",
        ),
        (b"hunter2", f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - JSON Parsing Error: "),
        (b"\xff\xfe", f"LoadIPAMConfig Flatfile ({FLAT_FILES[1]}) - JSON Parsing Error: "),
    ],
)
def test_file_that_cannot_be_read_is_an_error_without_its_content(
    content: bytes | Exception, message: str, lenient: bool
) -> None:
    files = MemoryFiles({FLAT_FILES[1]: content, FLAT_FILES[2]: conf("other")})
    with pytest.raises(ConfigError) as caught:
        loaded({"range": "10.0.0.0/24"}, files, lenient=lenient)
    assert str(caught.value).startswith(message)
    assert "hunter2" not in str(caught.value)
