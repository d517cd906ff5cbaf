"""The node agent behind the native plugin, end to end: what it answers, whom it serves, how it ends."""

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from whereabouts.agent import framing
from whereabouts.agent.server import Server
from whereabouts.config.keys import PATHS
from whereabouts.log import SILENT

from .cni_calls import CONSOLE, LONG, Outcome, Runtime, container_of, outcome_of
from .node_agent import Agent, agent_in_a_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a while")
NOBODY = 65534


@pytest.fixture(scope="module")
def shared() -> Iterator[Agent]:
    """An agent for tests that leave it as it was."""
    with agent_in_a_directory() as agent:
        agent.start()
        yield agent


@pytest.fixture
def agent() -> Iterator[Agent]:
    """An agent of its own for a test, not started."""
    with agent_in_a_directory() as agent:
        yield agent


def database(agent: Agent) -> Path:
    return agent.directory / "w.db"


def used(agent: Agent) -> int:
    """Addresses in the agent's store; the sum over its blocks."""
    with sqlite3.connect(database(agent)) as connection:
        (number,) = connection.execute("SELECT total(allocated) FROM blocks").fetchone()
    connection.close()
    return int(number)


def wait_until(condition: Callable[[], bool]) -> None:
    """Look until it is so."""
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def connections(agent: Agent) -> int:
    """How many connections to its store the agent has open."""
    opened = 0
    for link in Path(f"/proc/{agent.pid}/fd").iterdir():
        try:
            opened += os.readlink(link) == str(database(agent))
        except FileNotFoundError:
            continue
    return opened


@contextmanager
def locked(agent: Agent) -> Iterator[None]:
    """Nobody can write to the store meanwhile."""
    holder = sqlite3.connect(database(agent), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


# ---- what it answers ----


def conversation(runtime: Runtime) -> Iterator[Outcome]:
    """Calls of every kind, good and bad."""
    dual = {"ipRanges": [{"range": "10.9.0.0/24", "gateway": "10.9.0.254"}, {"range": "fd00:9::/64"}]}
    for version in ("", "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"):
        of_version = runtime._replace(version=version, ipam={**runtime.ipam, **dual})
        yield of_version.call("ADD", f"pod-{version}")
    pods = runtime._replace(ipam={**runtime.ipam, "range": "10.0.0.0/30"})
    added = pods.call("ADD", "a")
    yield added
    yield pods.call("ADD", "b")
    yield pods.call("ADD", "c")
    yield pods.check("a", added.result())
    yield pods.check("c", added.result())
    yield pods.call("CHECK", "a")
    yield pods.status()
    yield pods.call("DEL", "a")
    yield pods.call("DEL", "a")
    yield pods.check("a", added.result())
    yield pods.status()
    yield pods.collect(["a", "b"])
    yield pods.collect([])
    yield pods.call("ADD", "c")
    yield pods.call("VERSION")
    for stdin in (b"{", b"[]", b"\xff", b'{"name": "n"}', b'{"name": "n", "cniVersion": "7"}', b"[" * 9999):
        for command in ("ADD", "DEL", "STATUS", "Add"):
            yield pods.call(command, "a", stdin)
    for variables in (
        {"CNI_CONTAINERID": ""},
        {"CNI_CONTAINERID": "../x"},
        {"CNI_IFNAME": "a/b"},
        {"CNI_IFNAME": "\udcff"},
        {"CNI_ARGS": "K8S_POD_NAME=\udcff"},
        {"CNI_ARGS": "x"},
        {"CNI_PATH": "", "CNI_NETNS": ""},
        {"CNI_NETNS": "/proc/self/ns/net"},
    ):
        yield pods.call("ADD", "a", **variables)
    for ipam in ({"range": 1}, {"range": "10.0.0.0/31"}, {"datastore": "redis"}):
        yield runtime._replace(ipam={**runtime.ipam, **ipam}).call("ADD", "a")


def test_native_plugin_and_agent_answer_byte_for_byte_as_the_console_script(
    shared: Agent, tmp_path: Path
) -> None:
    native = shared.runtime(local={"path": str(shared.directory / "conversation.db")})
    console = Runtime(CONSOLE, {"local": {"path": str(tmp_path / "w.db")}})
    for number, (one, other) in enumerate(zip(conversation(native), conversation(console), strict=True)):
        assert one[:2] == other[:2], f"call {number}"
        assert one.status in (0, 1)


def test_the_node_is_the_agents_own(shared: Agent) -> None:
    """The environment of the plugin does not say on which node it runs."""
    pods = shared.runtime(range="10.3.0.0/24", network_name="nodes")
    pods.add("web", NODENAME="another")
    assert pods.collect([]).result() == {}
    assert pods.add("next") == ["10.3.0.1"]


# ---- what it tells its operator ----


def test_metrics_count_calls_requests_groups_and_addresses(agent: Agent) -> None:
    agent.start()
    pods = agent.runtime(range="10.0.0.0/29", network_name="blue")
    for number in range(7):
        pods.call("ADD", f"p{number}")
    pods.delete("p0")
    pods.status().result()
    counted = agent.metrics()
    calls = "whereabouts_calls_total"
    assert counted.total(calls, command="ADD", code="0") == 6
    assert counted.total(calls, command="ADD", code="999") == 1
    assert counted.total(calls, command="DEL", code="0") == 1
    assert counted.total(calls, command="STATUS", code="0") == 1
    assert counted.total("whereabouts_call_duration_seconds_count", command="ADD") == 7
    assert counted.total("whereabouts_call_duration_seconds_sum", command="ADD") > 0
    assert counted.total("whereabouts_store_requests_total", verb="write_block", outcome="ok") == 7
    assert counted.total("whereabouts_commit_group_size_sum") >= 7
    assert counted.total("whereabouts_commit_group_size_bucket", le="1.0") >= 7
    for state, number in (("capacity", 6), ("used", 5), ("free", 1)):
        name = f"whereabouts_range_{state}_addresses"
        assert counted.total(name, network="blue", range="10.0.0.0/29") == number
    assert counted.total("whereabouts_agent_ready") == 1


def test_probes_tell_life_and_readiness(shared: Agent) -> None:
    assert shared.ask("/healthz") == (200, "200 OK\n")
    assert shared.ask("/readyz") == (200, "200 OK\n")
    assert shared.ask("/elsewhere").status == 404


def test_lines_of_the_log_name_the_attachment(shared: Agent) -> None:
    pods = shared.runtime(range="10.4.0.0/24", unheard="of", log_level="debug")
    seen = len(shared.lines)
    pods.add("logged")
    pods.delete("logged")
    subject = f"network=pods pod=default/logged container={container_of('logged')} interface=net1: "
    assert f"[verbose] ADD {subject}gave 10.4.0.1" in shared.wait_for_line("gave", seen)
    assert f"[verbose] DEL {subject}freed 10.4.0.1 of default/logged" in shared.wait_for_line("freed", seen)
    assert f'ADD {subject}unknown key "ipam.unheard"' in shared.wait_for_line("unheard", seen)


def test_a_configuration_cannot_make_the_agent_say_more_than_it_was_started_for(agent: Agent) -> None:
    agent.start_silently("--log-level", "error")
    wait_until(agent.socket.exists)
    assert agent.runtime(range="10.0.0.0/24", log_level="debug").add("web") == ["10.0.0.1"]
    assert agent.lines == []


# ---- how it starts and ends ----


def test_the_socket_is_its_owners_alone(shared: Agent) -> None:
    mode = shared.socket.lstat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def start_for_error(agent: Agent, *options: str) -> str:
    """Start an agent that cannot run; what it says."""
    command = [str(CONSOLE), "agent", "--socket", str(agent.socket), *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode in (1, 2)
    assert run.stdout == ""
    assert "Traceback" not in run.stderr
    return run.stderr


def test_a_second_agent_does_not_take_the_socket_of_the_first(shared: Agent) -> None:
    assert f"another agent serves {shared.socket}: stop it first" in start_for_error(shared)
    assert shared.runtime(range="10.0.0.0/24").status().result() == {}


def test_a_file_in_the_sockets_place_is_not_removed(agent: Agent) -> None:
    agent.socket.write_text("precious")
    assert "is not a socket" in start_for_error(agent)
    assert agent.socket.read_text() == "precious"


def test_a_socket_that_cannot_be_made_is_named(agent: Agent) -> None:
    agent.socket = agent.directory / ("x" * 120)
    assert str(agent.socket) in start_for_error(agent)
    agent.socket = Path("/proc/agent.sock")
    assert "/proc/agent.sock" in start_for_error(agent)


def test_a_port_that_is_taken_is_named_and_nothing_stays_behind(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = start_for_error(agent, "--metrics-port", str(port))
    assert f"127.0.0.1:{port}" in message
    assert not agent.socket.exists()


@pytest.mark.parametrize(
    ("option", "value"), [("--metrics-port", "65536"), ("--workers", "0"), ("--workers", "x")]
)
def test_an_option_that_cannot_be_is_named(agent: Agent, option: str, value: str) -> None:
    assert option in start_for_error(agent, option, value)


def test_an_agent_takes_the_place_of_one_that_was_killed(agent: Agent) -> None:
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    pods.add("before")
    agent.kill()
    assert agent.socket.exists()
    agent.start()
    assert pods.add("after") == ["10.0.0.2"]
    pods.delete("before")
    assert pods.add("again") == ["10.0.0.1"]


def test_a_start_that_was_killed_with_the_same_process_id_leaves_nothing_in_the_way(agent: Agent) -> None:
    """In a container, the agent has the same process ID each time."""
    occupy = 'python3 -c "import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])" "$3.$$"'
    agent.program = ["sh", "-ec", f'{occupy}; exec "$0" "$@"', str(CONSOLE)]
    agent.start()
    agent.terminate()
    assert agent.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_if_nothing_is_to_be_done(agent: Agent, number: int) -> None:
    agent.start()
    os.kill(agent.pid, number)
    assert agent.wait() == 0
    assert not agent.socket.exists()


DEAF = """
import signal, sys
set_handler = signal.signal
signal.signal = lambda number, _: set_handler(number, lambda *_: None)
from whereabouts.cli import main
sys.exit(main())
"""
"""The program, in which handlers of signals do nothing."""


def test_a_signal_whose_handler_is_late_ends_it_too(agent: Agent) -> None:
    """Python runs a handler between two waits: one that begins right behind the signal would last."""
    agent.program = [sys.executable, "-c", DEAF]
    agent.start()
    agent.terminate()
    assert agent.wait() == 0


def test_on_sigterm_calls_in_flight_are_answered_and_new_ones_told_to_come_again(agent: Agent) -> None:
    Runtime(CONSOLE, agent.runtime(range="10.0.0.0/24").ipam).add("earlier")
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    with locked(agent):
        calls = [pods.start("ADD", f"p{number}") for number in range(4)]
        wait_until(lambda: connections(agent) == 4)
        agent.terminate()
        agent.wait_for_line("stopping")
        assert agent.ask("/readyz").status == 503
        assert agent.ask("/healthz").status == 200
        assert "is being stopped" in pods.call("ADD", "late").error(11)
        assert "is being stopped" in pods.call("DEL", "earlier").error(11)
        assert "is being stopped" in pods.status().error(50)
        agent.terminate()
    given = sorted(outcome_of(call).addresses() for call in calls)
    assert given == [[f"10.0.0.{last}"] for last in (2, 3, 4, 5)]
    assert agent.wait() == 0
    assert not agent.socket.exists()


def test_draining_has_an_end(agent: Agent) -> None:
    Runtime(CONSOLE, agent.runtime(range="10.0.0.0/24").ipam).add("earlier")
    agent.start("--drain-seconds", "0.2")
    pods = agent.runtime(range="10.0.0.0/24")
    with locked(agent):
        call = pods.start("ADD", "web")
        wait_until(lambda: connections(agent) == 1)
        agent.terminate()
        assert agent.wait() == 1
        assert "hung up" in outcome_of(call).error(11)
    assert any("calls were still in flight after 0.2 s" in line for line in agent.lines)
    agent.start()
    pods.delete("web")
    assert used(agent) == 1


# ---- one attachment, several calls ----


def test_a_del_comes_after_the_add_whose_plugin_was_killed(agent: Agent) -> None:
    """A runtime that gives up on an ADD kills the plugin and calls DEL; the agent still has the ADD."""
    Runtime(CONSOLE, agent.runtime(range="10.0.0.0/24").ipam).add("earlier")
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    with locked(agent):
        add = pods.start("ADD", "web")
        wait_until(lambda: connections(agent) == 1)
        add.kill()
        outcome_of(add)
        delete = pods.start("DEL", "web")
        with pytest.raises(subprocess.TimeoutExpired):
            delete.wait(0.5)
        assert pods.call("DEL", "somebody else").error(4)
        pods.delete("somebody-else")
    assert outcome_of(delete).result() == {}
    assert used(agent) == 1


def test_a_call_whose_plugin_was_killed_before_its_turn_is_not_begun(agent: Agent) -> None:
    """Its DEL may have been served already, by a worker that was quicker."""
    Runtime(CONSOLE, agent.runtime(range="10.0.0.0/24").ipam).add("earlier")
    agent.start("--workers", "1")
    pods = agent.runtime(range="10.0.0.0/24")
    with locked(agent):
        first = pods.start("ADD", "first")
        wait_until(lambda: connections(agent) == 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(agent.socket))
            client.sendall(framing.encode_request(request(pods, "ADD", "killed")))
    assert outcome_of(first).addresses() == ["10.0.0.2"]
    agent.wait_for_line("the plugin has gone before its call was begun")
    assert used(agent) == 2


def raw_call(agent: Agent, frame: bytes) -> framing.Answer | None:
    """Send bytes to the agent; its answer, None if it hung up without one."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(LONG)
        client.connect(str(agent.socket))
        with suppress(OSError):  # it may have hung up
            client.sendall(frame)
        return answer_to(client)


def answer_to(client: socket.socket) -> framing.Answer | None:
    reader = framing.AnswerReader()
    while True:
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            data = b""
        answer = reader.feed(data)
        if answer is not None or not data:
            return answer


def request(runtime: Runtime, command: str, pod: str, milliseconds: int = 60_000) -> framing.Request:
    return framing.Request(runtime.environment(command, pod), runtime.config(), milliseconds, None, None)


def test_a_call_ends_before_its_plugin_gives_up(agent: Agent) -> None:
    Runtime(CONSOLE, agent.runtime(range="10.0.0.0/24").ipam).add("earlier")
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    with locked(agent):
        for pod in ("one", "two"):
            answer = raw_call(agent, framing.encode_request(request(pods, "ADD", pod, 800)))
            assert answer is not None
            Outcome(answer.status, answer.stdout, answer.stderr).error(11)
    assert used(agent) == 1
    assert pods.add("one") == ["10.0.0.2"]


def test_a_thread_that_cannot_be_started_ends_neither_the_agent_nor_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(
        str(tmp_path / "s"),
        lambda request, waited: framing.Answer(0, request.config, b""),
        workers=2,
        patience=LONG,
        log=SILENT,
    )
    runs = threading.Thread(target=server.run)
    runs.start()
    start, refused = threading.Thread.start, list[str]()

    def start_the_second(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_the_second)
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2)]
        for client, config in zip(clients, (b"first", b"second"), strict=True):
            client.settimeout(LONG)
            client.connect(str(tmp_path / "s"))
            client.sendall(framing.encode_request(framing.Request({}, config, 1000, None, None)))
        answers = [answer_to(client) for client in clients]
    assert [answer and answer.stdout for answer in answers] == [b"first", b"second"]
    server.stop()
    runs.join(LONG)
    assert server.drain(LONG)
    server.close()
    assert len(refused) == 1


# ---- clients that are not a plugin ----


def test_neither_garbage_nor_clients_that_are_slow_hold_up_others(agent: Agent) -> None:
    agent.start("--workers", "8")
    pods = agent.runtime(range="10.0.0.0/24")
    whole = framing.encode_request(request(pods, "ADD", "slow"))
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(6)]
        for number, client in enumerate(slow):
            client.connect(str(agent.socket))
            client.sendall(whole[: number * 8])
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100_000, b"W", whole[:-1], whole + b"x"):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(agent.socket))
                client.sendall(garbage)
        assert [pods.add(f"p{number}") for number in range(4)] == [[f"10.0.0.{n}"] for n in range(1, 5)]
        slow[-1].sendall(whole[5 * 8 :])
        slow[-1].settimeout(LONG)
        answer = answer_to(slow[-1])
    assert answer is not None
    assert Outcome(*answer).addresses() == ["10.0.0.5"]
    assert not any("internal error" in line for line in agent.lines)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (b"WBTS" + (2).to_bytes(2) + (1).to_bytes(2) + bytes(4), "protocol version 2"),
        (b"WBTS" + (1).to_bytes(2) + (1).to_bytes(2) + b"\xff" * 4, "announces 4294967295 bytes"),
        (b"WBTS" + (1).to_bytes(2) + (2).to_bytes(2) + bytes(4), "kind 2"),
        (b"WBTS" + (1).to_bytes(2) + (1).to_bytes(2) + bytes(4), "shorter than its fields"),
        (b"HELO", "not a whereabouts frame"),
    ],
)
def test_what_is_no_request_is_answered_with_an_error(shared: Agent, frame: bytes, says: str) -> None:
    answer = raw_call(shared, frame)
    assert answer is not None
    assert says in Outcome(answer.status, answer.stdout, answer.stderr).error(11)


@needs_root
def test_a_client_that_is_not_root_gets_an_error_and_nothing_else(agent: Agent) -> None:
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")

    def call_as_nobody(command: str) -> Outcome:
        run = subprocess.run(
            [pods.program],
            input=pods.config(),
            env=pods.environment(command, "web"),
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
            timeout=LONG,
        )
        return Outcome(run.returncode, run.stdout, run.stderr)

    assert "Permission denied" in call_as_nobody("ADD").error(11)
    agent.socket.chmod(0o666)
    for command in ("ADD", "DEL"):
        call_as_nobody(command).error(11)
    agent.wait_for_line("a client that is not root was turned away")
    assert not database(agent).exists()
    assert agent.metrics().total("whereabouts_calls_total") == 0
    assert pods.add("web") == ["10.0.0.1"]


# ---- files that a tenant names ----


def naming(key: str, path: str) -> dict[str, object]:
    """An ``ipam`` with a path at a key, or at a key in an object."""
    outer, _, inner = key.rpartition(".")
    return {outer: {inner: path}} if outer else {inner: path}


SPELLINGS = [*PATHS, "LOG_FILE", "Configuration_Path", "LOCAL.PATH", "Local.Path"]


@pytest.mark.parametrize("command", ["ADD", "DEL", "CHECK", "STATUS", "GC"])
@pytest.mark.parametrize("key", SPELLINGS)
def test_a_tenant_who_names_a_file_of_the_host_gets_an_error_and_nothing_else(
    shared: Agent, tmp_path: Path, key: str, command: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"range": "10.66.0.0/24", "hunter2": ')
    before = secret.stat()
    messages = []
    for path in (secret, Path("/etc/shadow"), tmp_path / "no-such-file"):
        ipam = {"range": "10.5.0.0/24", **naming(key, str(path))}
        pods = Runtime(shared.plugin, ipam, version="1.1.0")
        outcome = pods.call(command, "tenant", pods.valid([]) if command == "GC" else b"")
        messages.append(outcome.error(999).replace(str(path), "<path>"))
    assert len(set(messages)) == 1, "what is said does not depend on the file"
    assert "--allow-directory" in messages[0]
    assert key.lower() in messages[0]
    after = secret.stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)
    assert sorted(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize("key", ["log_file", "configuration_path", "local.path"])
def test_no_way_leads_out_of_the_allowed_directories(agent: Agent, tmp_path: Path, key: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    (agent.directory / "link").symlink_to(outside)
    (agent.directory / "folder").symlink_to(tmp_path)
    (agent.directory / "dangling").symlink_to(tmp_path / "made")
    agent.start()
    for path in (
        f"{agent.directory}/../{outside.relative_to('/tmp') if outside.is_relative_to('/tmp') else 'x'}",
        f"{agent.directory}/link",
        f"{agent.directory}/folder/outside",
        f"{agent.directory}/dangling",
        f"{agent.directory}x/file",
        f"{agent.directory}",
        "outside",
        "./outside",
        "~/outside",
    ):
        if path == str(agent.directory) and key != "log_file":
            continue
        pods = agent.runtime(range="10.5.0.0/24", **naming(key, path))
        if path == str(agent.directory):
            assert pods.add("web") == ["10.5.0.1"], "a directory cannot be a log, and is only reported"
            continue
        assert "--allow-directory" in pods.call("ADD", "tenant").error(999), path
    assert outside.read_text() == "as it was"
    assert [entry.name for entry in tmp_path.iterdir()] == ["outside"]


def test_files_in_an_allowed_directory_are_used(agent: Agent) -> None:
    agent.start()
    flat = agent.directory / "whereabouts.d"
    flat.mkdir()
    (flat / "whereabouts.conf").write_text(json.dumps({"gateway": "10.5.0.254"}))
    log = agent.directory / "made.log"
    pods = agent.runtime(
        range="10.5.0.0/24", log_file=f"{flat}/../made.log", configuration_path=str(flat), log_level="debug"
    )
    assert pods.call("ADD", "web").result()["ips"] == [{"address": "10.5.0.1/24", "gateway": "10.5.0.254"}]
    assert "gave 10.5.0.1" in log.read_text()
    assert database(agent).exists()


def test_without_allowed_directories_the_operators_paths_still_hold(agent: Agent) -> None:
    agent.allowed = []
    agent.start()
    message = agent.runtime(range="10.5.0.0/24").call("ADD", "web").error(999)
    assert "local.path" in message
    assert "--allow-directory: none" in message
    assert not database(agent).exists()


def test_a_result_that_is_too_large_for_the_plugin_is_said_and_the_del_frees(shared: Agent) -> None:
    pods = shared.runtime(range="10.6.0.0/24", dns={"domain": "<" * 900_000})
    assert "the answer has 5" in pods.call("ADD", "web").error(999)
    before = used(shared)
    pods.delete("web")
    assert used(shared) == before - 1


# ---- stores that fail ----


def test_a_damaged_store_is_said_and_one_in_its_place_is_used(agent: Agent) -> None:
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    database(agent).write_bytes(b"not a database " * 1000)
    assert "is damaged" in pods.call("ADD", "web").error(999)
    assert "is damaged" in pods.status().error(50)
    assert agent.ask("/metrics").status == 200
    database(agent).unlink()
    assert pods.add("web") == ["10.0.0.1"]


def test_a_store_that_was_removed_under_the_agent_is_not_written_to(agent: Agent) -> None:
    """What is recorded in a file that nobody else can open is given to others."""
    agent.start()
    pods = agent.runtime(range="10.0.0.0/24")
    pods.add("before")
    for file in agent.directory.glob("w.db*"):
        file.unlink()
    given = pods.call("ADD", "after")
    assert given.status == 1 or used(agent) == 1
