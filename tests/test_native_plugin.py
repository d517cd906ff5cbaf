"""The native plugin against a fake agent: one whole answer, or a CNI error that can be tried again.

Compiled here with sanitizers where the compiler has them, once with the real time limits and once with
short ones.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whereabouts
from whereabouts.agent.framing import (
    MAX_ANSWER,
    MAX_CONFIG,
    MAX_ENVIRONMENT,
    Answer,
    NetnsId,
    Request,
    RequestReader,
    encode_answer,
)

SOURCE = Path(__file__).parent.parent / "whereabouts" / "native" / "whereabouts.c"
SHIPPED = Path(whereabouts.__file__).parent / "native" / "whereabouts"
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
CONFIG = b'{"cniVersion": "1.0.0", "name": "net", "ipam": {"type": "whereabouts", "cniVersion": "9"}}'
RESULT = Answer(0, b'{"cniVersion":"1.0.0","ips":[{"address":"192.168.2.1/24"}]}', b"")
ENVIRONMENT = {
    "CNI_CONTAINERID": "0123abcd",
    "CNI_NETNS": "/var/run/netns/not-there",
    "CNI_IFNAME": "net1",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=p",
    "CNI_PATH": "/opt/cni/bin",
}
NEVER_S = 60
"""A limit for what must end by itself much sooner."""

Behaviour = Callable[[socket.socket, Request], None]


class Plugin(NamedTuple):
    """A program in a directory of its own, told to use the socket in that directory."""

    program: Path
    socket: Path

    def run(
        self, command: str, config: bytes = CONFIG, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.program],
            input=config,
            env=ENVIRONMENT | {"CNI_COMMAND": command} | environment,
            capture_output=True,
            timeout=NEVER_S,
            check=False,
        )

    def start(self, command: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.program],
            env=ENVIRONMENT | {"CNI_COMMAND": command},
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )

    def write_socket_path(self, text: bytes) -> None:
        (self.program.parent / "whereabouts.socket-path").write_bytes(text)


def compile_plugin(program: Path, *defines: str) -> Path:
    if COMPILER is None:
        pytest.skip("no C compiler")
    warnings = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    command = [
        COMPILER,
        *warnings,
        '-DWHEREABOUTS_VERSION="1.2.3"',
        *defines,
        str(SOURCE),
        "-o",
        str(program),
    ]
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    if subprocess.run([*command, *sanitizers], capture_output=True, check=False).returncode != 0:
        subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="module")
def patient_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_plugin(tmp_path_factory.mktemp("patient") / "whereabouts")


@pytest.fixture(scope="module")
def impatient_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    limits = ("-DADD_DEADLINE_MS=1500", "-DOTHER_DEADLINE_MS=1500", "-DCONNECT_WAIT_MS=200")
    return compile_plugin(tmp_path_factory.mktemp("impatient") / "whereabouts", *limits)


def installed(program: Path, directory: Path) -> Plugin:
    plugin = Plugin(directory / "whereabouts", directory / "agent.sock")
    shutil.copy(program, plugin.program)
    plugin.write_socket_path(os.fsencode(plugin.socket) + b"\n")
    return plugin


@pytest.fixture
def plugin(patient_program: Path, tmp_path: Path) -> Plugin:
    """With the limits that are shipped."""
    return installed(patient_program, tmp_path)


@pytest.fixture
def impatient(impatient_program: Path, tmp_path: Path) -> Plugin:
    """Waits 200 ms for an agent and 1.5 s for an answer."""
    return installed(impatient_program, tmp_path)


@contextmanager
def agent(path: Path, behave: Behaviour) -> Iterator[list[Request]]:
    """Serve one call as ``behave`` does, and list the request that came."""
    requests: list[Request] = []

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            reader = RequestReader()
            while (request := reader.feed(connection.recv(65536))) is None:
                pass
            requests.append(request)
            behave(connection, request)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve)
        server.start()
        try:
            yield requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join(NEVER_S)


def answering(answer: Answer) -> Behaviour:
    return sending(encode_answer(answer))


def sending(data: bytes) -> Behaviour:
    def behave(connection: socket.socket, _: Request) -> None:
        connection.sendall(data)

    return behave


def silent(connection: socket.socket, _: Request) -> None:
    connection.recv(1)


def error_of(done: subprocess.CompletedProcess[bytes], code: int, version: str = "1.0.0") -> str:
    """Check the form of the one error object on stdout and return its message."""
    assert (done.returncode, done.stderr) == (1, b"")
    error = json.loads(done.stdout)
    assert done.stdout.decode() == json.dumps(error, indent=4)
    assert list(error) == ["cniVersion", "code", "msg", "details"]
    assert (error["code"], error["cniVersion"]) == (code, version)
    assert error["details"]
    return str(error["msg"])


# ---- without an agent ----


def test_version_needs_no_agent_and_no_stdin(plugin: Plugin) -> None:
    done = plugin.run("VERSION", b"")
    assert (done.returncode, done.stderr) == (0, b"")
    quoted = ",".join(f'"{version}"' for version in VERSIONS)
    assert done.stdout.decode() == f'{{"cniVersion":"1.1.0","supportedVersions":[{quoted}]}}\n'


@pytest.mark.parametrize("environment", [{}, {"CNI_COMMAND": ""}])
def test_without_a_command_it_introduces_itself_on_stderr(
    plugin: Plugin, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [plugin.program], env=environment, capture_output=True, timeout=NEVER_S, check=False
    )
    first, second, end = done.stderr.decode().split("\n")
    assert (done.returncode, done.stdout, end) == (0, b"", "")
    assert re.fullmatch(r"whereabouts 1\.2\.3 linux/\w+", first)
    assert second == "CNI protocol versions supported: " + ", ".join(VERSIONS)


# ---- a call and its answer ----


@pytest.mark.parametrize(
    "answer",
    [
        RESULT,
        Answer(0, b"", b""),
        Answer(1, b'{"code": 999, "msg": "full"}', b"a log line\n"),
        Answer(255, bytes(range(256)), b"\0"),
    ],
)
def test_the_answer_becomes_output_and_exit_status(plugin: Plugin, answer: Answer) -> None:
    with agent(plugin.socket, answering(answer)):
        done = plugin.run("ADD")
    assert (done.returncode, done.stdout, done.stderr) == answer


def test_the_largest_answer_arrives_whole(plugin: Plugin) -> None:
    answer = Answer(0, b"o" * (MAX_ANSWER - 12 - 70_000), b"e" * 70_000)
    with agent(plugin.socket, answering(answer)):
        done = plugin.run("ADD")
    assert (done.returncode, done.stdout, done.stderr) == answer


def test_an_answer_in_single_bytes_is_put_together(plugin: Plugin) -> None:
    def dribble(connection: socket.socket, _: Request) -> None:
        for byte in encode_answer(RESULT):
            connection.sendall(bytes([byte]))

    with agent(plugin.socket, dribble):
        assert plugin.run("ADD").stdout == RESULT.stdout


@pytest.mark.parametrize(
    "config",
    [CONFIG, b"", b"\0\xff{not json", bytes(range(256)) * 100, b"x" * MAX_CONFIG],
    ids=["json", "empty", "garbage", "binary", "largest"],
)
def test_stdin_reaches_the_agent_byte_for_byte(plugin: Plugin, config: bytes) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        assert plugin.run("ADD", config).returncode == 0
    assert requests[0].config == config


def test_only_the_variables_of_cni_are_sent(plugin: Plugin) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        plugin.run("ADD", CNI_NETNS_OVERRIDE="1", CNI_ARGS="", KUBECONFIG="/root/secret", CNI_OTHER="x")
    expected = ENVIRONMENT | {"CNI_COMMAND": "ADD", "CNI_NETNS_OVERRIDE": "1"}
    del expected["CNI_ARGS"]
    assert requests[0].environment == expected


def test_variables_that_are_not_text_are_sent_as_they_are(plugin: Plugin) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        plugin.run("ADD", CNI_ARGS="\udcff=é")
    assert requests[0].environment["CNI_ARGS"] == "\udcff=é"


def test_the_network_namespaces_are_told_by_device_and_inode(plugin: Plugin, tmp_path: Path) -> None:
    def identity(path: Path) -> NetnsId:
        status = path.stat()
        return NetnsId(status.st_dev, status.st_ino)

    with agent(plugin.socket, answering(RESULT)) as requests:
        plugin.run("ADD", CNI_NETNS=str(tmp_path))
    assert requests[0].plugin_netns == identity(Path("/proc/self/ns/net"))
    assert requests[0].pod_netns == identity(tmp_path)


@pytest.mark.parametrize("netns", ["", "/var/run/netns/not-there"])
def test_a_namespace_that_is_not_there_is_unknown(plugin: Plugin, netns: str) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        plugin.run("DEL", CNI_NETNS=netns)
    assert requests[0].pod_netns is None


@pytest.mark.parametrize(
    ("command", "limit"), [("ADD", 120_000), ("DEL", 60_000), ("CHECK", 60_000), ("GC", 60_000)]
)
def test_the_agent_learns_how_long_the_call_may_take(plugin: Plugin, command: str, limit: int) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        plugin.run(command)
    assert limit - 30_000 < requests[0].time_left_ms <= limit


def test_a_closed_stdin_is_an_empty_one(plugin: Plugin) -> None:
    with agent(plugin.socket, answering(RESULT)) as requests:
        shell = ["/bin/sh", "-c", 'exec "$0" <&-', str(plugin.program)]
        done = subprocess.run(
            shell, env={"CNI_COMMAND": "ADD"}, capture_output=True, timeout=NEVER_S, check=False
        )
    assert (done.returncode, done.stdout, requests[0].config) == (0, RESULT.stdout, b"")


# ---- a caller that does not keep to the rules ----


def test_too_large_a_configuration_is_refused(plugin: Plugin) -> None:
    done = plugin.run("ADD", CONFIG + b" " * MAX_CONFIG)
    assert error_of(done, 6) == "the network configuration on stdin is larger than 1048576 bytes"


def test_too_large_an_environment_is_refused_by_the_name_of_the_variable(plugin: Plugin) -> None:
    done = plugin.run("ADD", CNI_ARGS="x" * 65_536)
    assert "longer than 65536 bytes together, counted up to CNI_ARGS" in error_of(done, 4)


def test_the_largest_environment_is_sent(plugin: Plugin) -> None:
    path = "x" * (MAX_ENVIRONMENT - len("CNI_COMMAND=GC\0CNI_PATH=\0"))
    with agent(plugin.socket, answering(RESULT)) as requests:
        done = subprocess.run(
            [plugin.program],
            env={"CNI_COMMAND": "GC", "CNI_PATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=NEVER_S,
            check=False,
        )
    assert (done.returncode, requests[0].environment["CNI_PATH"]) == (0, path)


def test_a_stdin_that_is_never_closed_is_an_io_error(impatient: Plugin) -> None:
    with impatient.start("ADD") as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(CONFIG)
        process.stdin.flush()
        output = process.stdout.read()
        assert process.wait(NEVER_S) == 1
    done = subprocess.CompletedProcess([], 1, output, b"")
    assert "reading the network configuration from stdin" in error_of(done, 5)


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_a_result_that_cannot_be_written_is_a_failure(plugin: Plugin, redirection: str) -> None:
    with agent(plugin.socket, answering(RESULT)):
        shell = ["/bin/sh", "-c", f'exec "$0" {redirection}', str(plugin.program)]
        done = subprocess.run(shell, input=CONFIG, env={"CNI_COMMAND": "ADD"}, timeout=NEVER_S, check=False)
    assert done.returncode == 1


def test_a_caller_that_hung_up_is_a_failure_and_no_signal(plugin: Plugin) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with agent(plugin.socket, answering(RESULT)), plugin.start("ADD", stdout=writing) as process:
        os.close(writing)
        process.communicate(CONFIG, NEVER_S)
    assert process.returncode == 1


def test_a_caller_that_never_reads_does_not_hold_the_process(impatient: Plugin) -> None:
    reading, writing = os.pipe()
    answer = Answer(0, b"o" * 1_000_000, b"")
    with agent(impatient.socket, answering(answer)), impatient.start("ADD", stdout=writing) as process:
        os.close(writing)
        process.communicate(CONFIG, NEVER_S)
    os.close(reading)
    assert process.returncode == 1


# ---- an agent that is not there, or not well ----


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "GC"])
def test_no_agent_is_try_again_later(impatient: Plugin, command: str) -> None:
    message = error_of(impatient.run(command), 11)
    assert f"agent cannot be reached at {impatient.socket}: No such file or directory" in message


def test_a_socket_without_a_listener_is_try_again_later(impatient: Plugin) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(impatient.socket))
    assert "Connection refused" in error_of(impatient.run("ADD"), 11)


def test_a_file_in_the_place_of_the_socket_is_try_again_later(impatient: Plugin) -> None:
    impatient.socket.write_bytes(b"")
    assert "Connection refused" in error_of(impatient.run("ADD"), 11)


def test_for_status_no_agent_means_not_available(plugin: Plugin) -> None:
    error_of(plugin.run("STATUS"), 50)


def test_an_agent_that_starts_meanwhile_serves_the_call(plugin: Plugin) -> None:
    with plugin.start("ADD") as process:
        assert process.stdin
        process.stdin.write(CONFIG)
        process.stdin.close()
        process.stdin = None
        time.sleep(0.3)
        with agent(plugin.socket, answering(RESULT)):
            output, _ = process.communicate(timeout=NEVER_S)
    assert (process.returncode, output) == (0, RESULT.stdout)


def test_a_full_queue_ends_at_the_deadline(impatient: Plugin) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(impatient.socket))
        listener.listen(0)
        first.connect(str(impatient.socket))
        assert "too many calls are waiting for it" in error_of(impatient.run("ADD"), 11)


def test_an_agent_that_never_reads_ends_at_the_deadline(impatient: Plugin) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(impatient.socket))
        listener.listen()
        done = impatient.run("ADD", CONFIG + b" " * 1_000_000)
    assert "sending the call to the whereabouts agent" in error_of(done, 11)


@pytest.mark.parametrize(("command", "code"), [("ADD", 11), ("STATUS", 50)])
def test_an_agent_that_never_answers_ends_at_the_deadline(impatient: Plugin, command: str, code: int) -> None:
    with agent(impatient.socket, silent):
        assert "did not answer in time" in error_of(impatient.run(command), code)


def test_an_answer_that_only_trickles_ends_at_the_deadline(impatient: Plugin) -> None:
    def trickle(connection: socket.socket, _: Request) -> None:
        with suppress(BrokenPipeError):
            for byte in encode_answer(RESULT):
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

    with agent(impatient.socket, trickle):
        assert "did not answer in time" in error_of(impatient.run("ADD"), 11)


@pytest.mark.parametrize("size", [0, 1, 11, 12, 23, 24, len(encode_answer(RESULT)) - 1])
def test_a_part_of_an_answer_is_never_printed(plugin: Plugin, size: int) -> None:
    with agent(plugin.socket, sending(encode_answer(RESULT)[:size])):
        assert "hung up before its answer was whole" in error_of(plugin.run("ADD"), 11)


def test_an_agent_that_dies_without_reading_is_try_again_later(plugin: Plugin) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plugin.socket))
        listener.listen()

        def hang_up() -> None:
            listener.accept()[0].close()

        server = threading.Thread(target=hang_up)
        server.start()
        error_of(plugin.run("ADD", CONFIG + b" " * 1_000_000), 11)
        server.join(NEVER_S)


def test_an_agent_may_turn_a_request_down_without_reading_it(plugin: Plugin) -> None:
    refusal = Answer(1, b'{"code": 11, "msg": "too busy"}', b"")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(plugin.socket))
        listener.listen()

        def refuse() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(encode_answer(refusal))

        server = threading.Thread(target=refuse)
        server.start()
        done = plugin.run("ADD", CONFIG + b" " * 1_000_000)
        server.join(NEVER_S)
    assert (done.returncode, done.stdout, done.stderr) == refusal


def head(version: int, kind: int, size: int, magic: bytes = b"WBTS") -> bytes:
    return magic + version.to_bytes(2, "big") + kind.to_bytes(2, "big") + size.to_bytes(4, "big")


def fields(status: int, stdout: int, stderr: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in (status, stdout, stderr))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not a whereabouts agent"),
        (head(2, 2, 12) + fields(0, 0, 0), "has version 2, kind 2, not 1 and 2"),
        (head(1, 1, 12) + fields(0, 0, 0), "has version 1, kind 1, not 1 and 2"),
        (head(1, 2, 11) + bytes(11), "has 11 bytes, not 12 to 4194304"),
        (head(1, 2, MAX_ANSWER + 1), "has 4194305 bytes"),
        (head(1, 2, 2**32 - 1), "has 4294967295 bytes"),
        (head(1, 2, 12) + fields(256, 0, 0), "contradicts itself"),
        (head(1, 2, 12) + fields(0, 1, 0), "contradicts itself"),
        (head(1, 2, 13) + fields(0, 0, 0) + b"x", "contradicts itself"),
        (head(1, 2, 13) + fields(0, 2**32 - 1, 2) + b"x", "contradicts itself"),
    ],
)
def test_what_is_not_an_answer_is_never_printed(plugin: Plugin, data: bytes, sentence: str) -> None:
    with agent(plugin.socket, sending(data)):
        assert sentence in error_of(plugin.run("ADD"), 11)


# ---- where the socket is ----


def test_the_default_socket_is_used_where_no_file_names_one(impatient: Plugin) -> None:
    (impatient.program.parent / "whereabouts.socket-path").unlink()
    assert "/run/whereabouts/agent.sock" in error_of(impatient.run("ADD"), 11)


@pytest.mark.parametrize("end", [b"", b"\n", b" \t\r\nsecond line\n"])
def test_the_first_line_is_the_path(plugin: Plugin, end: bytes) -> None:
    plugin.write_socket_path(os.fsencode(plugin.socket) + end)
    with agent(plugin.socket, answering(RESULT)):
        assert plugin.run("ADD").returncode == 0


def test_the_file_is_found_through_a_symbolic_link_to_the_program(plugin: Plugin, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "whereabouts"
    link.parent.mkdir()
    link.symlink_to(plugin.program)
    with agent(plugin.socket, answering(RESULT)):
        assert plugin._replace(program=link).run("ADD").returncode == 0


@pytest.mark.parametrize(
    "text", [b"", b"\n/a\n", b"agent.sock\n", b'a"b\\c\x01\xff', b"/" + b"x" * 107, b"/" * 5000]
)
def test_a_file_without_a_usable_path_is_named(plugin: Plugin, text: bytes) -> None:
    plugin.write_socket_path(text)
    message = error_of(plugin.run("ADD"), 11)
    assert f"{plugin.program.parent}/whereabouts.socket-path: not the path of a unix socket" in message


def test_the_longest_path_works(impatient: Plugin) -> None:
    path = b"/" + b"x" * 106
    impatient.write_socket_path(path)
    assert f"at {path.decode()}: No such file" in error_of(impatient.run("ADD"), 11)


def test_a_directory_in_the_place_of_the_file_is_named(plugin: Plugin) -> None:
    (plugin.program.parent / "whereabouts.socket-path").unlink()
    (plugin.program.parent / "whereabouts.socket-path").mkdir()
    assert "whereabouts.socket-path: Is a directory" in error_of(plugin.run("ADD"), 11)


# ---- the caller's cniVersion in errors (STATUS, because it does not wait for an agent) ----


@pytest.mark.parametrize("version", [*VERSIONS, "9.9.9", "1" * 16])
def test_an_error_carries_the_callers_version(plugin: Plugin, version: str) -> None:
    error_of(plugin.run("STATUS", json.dumps({"name": "n", "cniVersion": version}).encode()), 50, version)


@pytest.mark.parametrize(
    "config",
    [
        b"",
        b"{}",
        b"[",
        b"null",
        b'["cniVersion", "1.0.0"]',
        b'"cniVersion": "1.0.0"',
        b'{"cniVersion": 1}',
        b'{"cniVersion": ""}',
        b'{"cniVersion": "1.0.0"',
        b'{"cniVersion": "1.0.0',
        b'{"cniVersion": "1.0.0\\',
        b'{"cniVersion": "<script>"}',
        b'{"cniVersion": "1.0\\u002e0"}',
        b'{"cniVersion": "11111111111111111"}',
        b'{"cniVersion": ["1.0.0"]}',
        b'{"ipam": {"cniVersion": "1.0.0"}, "plugins": [{"cniVersion": "1.0.0"}]}',
        b'{"name": "cniVersion", "x": "1.0.0"}',
        b"}" * 50 + b'{"cniVersion": "1.0.0"}',
        b"\0{}",
    ],
)
def test_without_a_version_to_be_trusted_it_is_the_oldest(plugin: Plugin, config: bytes) -> None:
    expected = "1.0.0" if config == b'{"cniVersion": "1.0.0"' else "0.1.0"
    error_of(plugin.run("STATUS", config), 50, expected)


json_text = st.text(alphabet='ab{}[]:,"\\ é\n', max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | json_text | st.sampled_from(["cniVersion", *VERSIONS]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.just("cniVersion") | json_text, inner, max_size=3)
    ),
    max_leaves=10,
)
documents = st.dictionaries(
    st.just("cniVersion") | json_text, st.sampled_from([*VERSIONS, "2", "x"]) | json_values, max_size=4
)
each_starts_a_process = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@each_starts_a_process
@given(document=documents, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_the_version_is_the_one_that_a_json_parser_finds(
    plugin: Plugin, document: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    value = document.get("cniVersion")
    trusted = isinstance(value, str) and re.fullmatch(r"[0-9.]{1,16}", value)
    config = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    error_of(plugin.run("STATUS", config), 50, str(value) if trusted else "0.1.0")


@each_starts_a_process
@given(
    config=st.lists(
        st.sampled_from([b"{", b"}", b"[", b'"', b"\\", b":", b",", b" ", b"cniVersion", b"1.0.0", b"\0"])
    ).map(b"".join)
    | st.binary()
)
def test_any_bytes_get_a_well_formed_error(plugin: Plugin, config: bytes) -> None:
    done = plugin.run("STATUS", config)
    version = json.loads(done.stdout)["cniVersion"]
    assert re.fullmatch(r"[0-9.]{1,16}", version)
    error_of(done, 50, version)


# ---- what setup.py built ----


@pytest.fixture
def shipped(tmp_path: Path) -> Plugin:
    if not SHIPPED.exists():
        pytest.skip("the native plugin is not built: python setup.py build_ext --inplace")
    return installed(SHIPPED, tmp_path)


def test_the_shipped_program_can_be_executed_by_everybody() -> None:
    if not SHIPPED.exists():
        pytest.skip("the native plugin is not built: python setup.py build_ext --inplace")
    assert SHIPPED.stat().st_mode & 0o777 == 0o755


def test_the_shipped_program_serves_a_call(shipped: Plugin) -> None:
    with agent(shipped.socket, answering(RESULT)):
        done = shipped.run("ADD")
    assert (done.returncode, done.stdout, done.stderr) == RESULT


def test_the_shipped_program_names_the_packages_version(shipped: Plugin) -> None:
    done = subprocess.run([shipped.program], env={}, capture_output=True, timeout=NEVER_S, check=False)
    assert done.stderr.decode().startswith(f"whereabouts {whereabouts.__version__} linux/")
