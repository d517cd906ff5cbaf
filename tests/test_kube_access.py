"""What reaching an API server costs a process, and credentials that a program hands out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from time import sleep

import pytest

import whereabouts
from whereabouts.config import load
from whereabouts.config.host_files import HostFiles
from whereabouts.config.values import Config
from whereabouts.deadline import Deadline, DeadlineExceeded
from whereabouts.store import Unavailable, Unsettled
from whereabouts.stores import kube_access
from whereabouts.stores.kube_access import Access, AccessError, from_kubeconfig, read_by
from whereabouts.stores.kubernetes import KubernetesStore
from whereabouts.stores.opening import open_store

from .api_double import ApiDouble, api_double
from .api_double_requests import Asked, Fault
from .api_server import kubeconfig
from .store_contract import KEY, SOON, block_with

READ_A_BLOCK = """
import sys
from ipaddress import ip_address
from whereabouts.block import BlockKey, Space
from whereabouts.deadline import Deadline
from whereabouts.stores.kube_access import from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore
store = KubernetesStore(from_kubeconfig(sys.argv[1]))
assert store.read_block(BlockKey.of(Space(), ip_address("10.0.0.0")), Deadline(30.0)) is None
store.close()
print(*sys.modules)
"""


@pytest.fixture
def server() -> Iterator[ApiDouble]:
    with api_double() as double:
        yield double


def test_a_process_loads_neither_the_client_library_nor_another_http_client(
    server: ApiDouble, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", server.server, "ns")
    run = subprocess.run(
        [sys.executable, "-c", READ_A_BLOCK, path],
        cwd=Path(whereabouts.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"kubernetes", "urllib3", "requests", "yaml", "asyncio", "dataclasses", "logging", "argparse"}
    assert heavy.isdisjoint(run.stdout.split())


def running_program(server: ApiDouble, folder: Path, sets_token: str) -> str:
    """A kubeconfig with a program that hands out what the Python text sets ``token`` to."""
    program = folder / "program"
    program.write_text(
        f"#!{sys.executable}\nimport json, os, time\n{sets_token}\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': {'token': token}}))\n"
    )
    program.chmod(0o755)
    path = folder / "kubeconfig"
    content = json.loads(Path(kubeconfig(path, server.server, "ns")).read_text())
    content["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(program),
            "interactiveMode": "Never",
        }
    }
    path.write_text(json.dumps(content))
    return str(path)


def config_of(path: str) -> Config:
    ipam = {"type": "whereabouts", "range": "10.0.0.0/24", "kubernetes": {"kubeconfig": path}}
    return load({"ipam": ipam}, network="n", container_id="c", files=HostFiles())


class Slow:
    """A source that answers when it is let."""

    def __init__(self, server: ApiDouble) -> None:
        self.access = Access(server.server, "ns", authorization="Bearer one")
        self.begun = 0
        self.may_answer = Event()

    def __call__(self) -> Access:
        self.begun += 1
        assert self.may_answer.wait(SOON)
        return self.access


def test_a_program_that_hangs_holds_up_no_call_and_is_not_run_a_second_time(
    server: ApiDouble, tmp_path: Path
) -> None:
    pytest.importorskip("kubernetes")
    server.token = "one"
    go_on, runs = tmp_path / "go-on", tmp_path / "runs"
    path = running_program(
        server,
        tmp_path,
        f"print('run', file=open({str(runs)!r}, 'a'))\n"
        f"until = time.monotonic() + {SOON}\n"
        f"while not os.path.exists({str(go_on)!r}) and time.monotonic() < until: time.sleep(0.02)\n"
        "token = 'one'",
    )
    config = config_of(path)
    with pytest.raises(DeadlineExceeded, match="does the program that hands them out hang"):
        open_store(config, Deadline(0.1))
    until = Deadline(SOON)
    while not runs.exists():
        sleep(0.02)
        until.remaining("the program")
    with pytest.raises(DeadlineExceeded):
        open_store(config, Deadline(0.1))
    assert runs.read_text() == "run\n"
    go_on.touch()
    with closing(open_store(config, Deadline(SOON))) as store:
        assert store.read_block(KEY, Deadline(SOON)) is None


def test_credentials_that_cannot_be_renewed_in_time_fail_the_call_and_the_next_has_them(
    server: ApiDouble,
) -> None:
    server.token = "one"
    source = Slow(server)
    source.may_answer.set()
    with closing(KubernetesStore(source)) as store:
        assert store.read_block(KEY, Deadline(SOON)) is None
        source.may_answer.clear()
        server.token = "two"
        for _ in range(3):
            with pytest.raises(DeadlineExceeded, match="credentials for the API server"):
                store.read_block(KEY, Deadline(0.2))
        assert source.begun == 2, "one when it was opened, one that all calls waited for"
        source.access = source.access._replace(authorization="Bearer two")
        source.may_answer.set()
        assert store.read_block(KEY, Deadline(SOON)) is None


def test_what_goes_wrong_with_credentials_is_told_and_the_next_reading_is_a_new_one(
    server: ApiDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kubeconfig"
    source = from_kubeconfig(str(path))
    with pytest.raises(AccessError, match="cannot be read"):
        read_by(Deadline(SOON), source)
    kubeconfig(path, server.server, "ns", "one")
    assert read_by(Deadline(SOON), source).authorization == "Bearer one"

    def none_left(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(kube_access, "Thread", none_left)
        with pytest.raises(Unavailable, match="can't start new thread"):
            read_by(Deadline(SOON), source)
    assert read_by(Deadline(SOON), source).authorization == "Bearer one"


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ("token: 'SECRET", "line 3, column 1"),
        ("token: *SECRET", "line 2, column 10"),
        ("token: \x01SECRET", "ReaderError"),
        ("token: !!int SECRET", "ValueError"),
    ],
)
def test_a_broken_kubeconfig_is_told_by_line_and_column_and_not_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, broken: str, where: str
) -> None:
    yaml = pytest.importorskip("yaml")
    if not quick:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    path = tmp_path / "kubeconfig"
    path.write_text(f"users:\n- {broken}\n")
    with pytest.raises(AccessError, match=f"{path} is no YAML: {where}$") as told:
        from_kubeconfig(str(path))()
    assert told.value.__suppress_context__


def test_credentials_that_cannot_be_read_after_a_lost_answer_leave_the_write_unsettled(
    server: ApiDouble, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    server.token = "one"
    with closing(KubernetesStore(from_kubeconfig(kubeconfig(path, server.server, "ns", "one")))) as store:

        def done_and_then_gone(_: Asked) -> Fault | None:
            server.fault = refused
            return Fault(500, after=True)

        def refused(_: Asked) -> Fault | None:
            path.unlink()
            return Fault(401)

        server.fault = done_and_then_gone
        with pytest.raises(Unsettled, match="cannot be read"):
            store.write_block(KEY, None, block_with(KEY, 1), Deadline(SOON))
        server.fault = lambda _: None
        stored = store.read_block(KEY, Deadline(SOON), fresh=True)
        assert stored is not None
        assert stored.trusted() == block_with(KEY, 1)


def test_a_program_that_hands_out_tokens_is_run_again_when_its_token_is_refused(
    server: ApiDouble, tmp_path: Path
) -> None:
    pytest.importorskip("kubernetes")
    server.token = "one"
    token = tmp_path / "token"
    token.write_text("one")
    path = running_program(server, tmp_path, f"token = open({str(token)!r}).read()")
    with closing(KubernetesStore(from_kubeconfig(path))) as store:
        assert store.read_block(KEY, Deadline(SOON)) is None
        server.token = "two"
        token.write_text("two")
        assert store.read_block(KEY, Deadline(SOON)) is None
    assert {asked.token for asked in server.asked} == {"one", "two"}


def test_a_token_file_is_found_beside_the_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    content = json.loads(Path(kubeconfig(path, "https://k:6443", "")).read_text())
    content["users"][0]["user"] = {"tokenFile": "token"}
    path.write_text(json.dumps(content))
    with pytest.raises(AccessError, match="token cannot be read"):
        from_kubeconfig(str(path))()
    (tmp_path / "token").write_text("abc\n")
    access = from_kubeconfig(str(path))()
    assert (access.authorization, access.namespace) == ("Bearer abc", "kube-system")
