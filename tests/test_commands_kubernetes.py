"""The commands on a real API server, as a whereabouts.conf names it."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.api_server import ADMIN, api_server, kubeconfig, resources
from tests.cni_calls import CONSOLE, Runtime, container_of

pytestmark = pytest.mark.apiserver


def command(*arguments: str) -> str:
    run = subprocess.run([CONSOLE, *arguments], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_a_cluster_of_the_go_plugin_is_moved_into_blocks_and_back(tmp_path: Path) -> None:
    server = api_server()
    namespace = server.namespace()
    path = kubeconfig(tmp_path / "kubeconfig", server.server, namespace, ADMIN, server.authority)
    conf = tmp_path / "whereabouts.conf"
    conf.write_text(json.dumps({"kubernetes": {"kubeconfig": str(path)}}))
    old = {"id": container_of("old"), "podref": "default/old", "ifname": "net1"}
    pool = {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": "10.6.0.0-24", "namespace": namespace},
        "spec": {"range": "10.6.0.0/24", "allocations": {"2": old}},
    }
    server.call("POST", resources(namespace, "ippools"), pool)
    migrate = ("migrate", "--config", str(conf), "--to")

    assert command(*migrate, "blocks", "--dry-run") == "10.6.0.0-24: 1 allocations would move\n"
    assert command(*migrate, "blocks") == "10.6.0.0-24: 1 allocations moved\n"
    runtime = Runtime(CONSOLE, {"range": "10.6.0.0/24", "kubernetes": {"kubeconfig": str(path)}})
    assert [runtime.add("one"), runtime.add("two")] == [["10.6.0.1"], ["10.6.0.3"]]
    assert command("show", "--config", str(conf)).split()[-7:-2] == ["-", "10.6.0.0/24", "254", "3", "251"]
    runtime.delete("old")
    assert runtime.add("three") == ["10.6.0.2"]

    assert command(*migrate, "upstream") == "10.6.0.0-24: 3 allocations moved\n"
    assert command("migrate", "--config", str(conf), "--repair-reservations") == ""
    given = server.kubectl("get", "ippools", "-n", namespace, "-o", "json")
    (written,) = json.loads(given)["items"]
    assert {offset: entry["podref"] for offset, entry in written["spec"]["allocations"].items()} == {
        "1": "default/one",
        "2": "default/three",
        "3": "default/two",
    }
