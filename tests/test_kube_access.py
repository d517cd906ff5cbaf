"""What reaching an API server costs a process, and credentials that a program hands out."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import whereabouts
from whereabouts.deadline import Deadline
from whereabouts.stores.kube_access import AccessError, from_kubeconfig
from whereabouts.stores.kubernetes import KubernetesStore

from .api_double import ApiDouble, api_double
from .api_server import kubeconfig
from .store_contract import KEY, SOON

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


def test_a_program_that_hands_out_tokens_is_run_again_when_its_token_is_refused(
    server: ApiDouble, tmp_path: Path
) -> None:
    pytest.importorskip("kubernetes")
    server.token = "one"
    token = tmp_path / "token"
    token.write_text("one")
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\nimport json\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        f" 'status': {{'token': open({str(token)!r}).read()}}}}))\n"
    )
    program.chmod(0o755)
    path = tmp_path / "kubeconfig"
    content = json.loads(Path(kubeconfig(path, server.server, "ns")).read_text())
    content["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(program),
            "interactiveMode": "Never",
        }
    }
    path.write_text(json.dumps(content))
    with closing(KubernetesStore(from_kubeconfig(str(path)))) as store:
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
