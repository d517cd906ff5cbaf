"""``kubectl whereabouts``, and the options of all commands that name a cluster."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.api_server import ADMIN, ApiServer, api_server, kubeconfig, program, resources
from tests.cni_calls import CONSOLE
from whereabouts.cli import main
from whereabouts.stores.kube_access import AccessError, from_kubeconfig, from_kubeconfigs


def pool(server: ApiServer, namespace: str, text: str) -> None:
    """Make a pool with one allocation of the Go plugin."""
    content = {
        "apiVersion": "whereabouts.cni.cncf.io/v1alpha1",
        "kind": "IPPool",
        "metadata": {"name": text.replace("/", "-"), "namespace": namespace},
        "spec": {"range": text, "allocations": {}},
    }
    assert server.call("POST", resources(namespace, "ippools"), content).status == 201


class Kubectl:
    """kubectl with the plugin on its path, and no other configuration than a test's."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{CONSOLE.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [program("kubectl"), *arguments],
            env={"PATH": path, "HOME": str(self.home), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def ranges(self, *arguments: str, **environment: str) -> list[str]:
        """The ranges that ``show`` prints."""
        shown = self.run("whereabouts", "show", *arguments, **environment)
        assert shown.returncode == 0, shown.stderr
        return [line.split()[1] for line in shown.stdout.splitlines()[1:]]


@pytest.mark.apiserver
def test_kubectl_runs_the_commands_on_the_cluster_of_its_user(tmp_path: Path) -> None:
    server = api_server()
    one, two = server.namespace(), server.namespace()
    pool(server, one, "10.1.0.0/24")
    pool(server, two, "10.2.0.0/24")
    kubectl = Kubectl(tmp_path)
    assert kubectl.run("whereabouts", "show").returncode == 1
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", server.server, one, ADMIN, server.authority)
    other = kubeconfig(tmp_path / "other", server.server, two, ADMIN, server.authority)

    assert "kubectl-whereabouts" in kubectl.run("plugin", "list").stdout
    assert kubectl.ranges() == ["10.1.0.0/24"]
    assert kubectl.ranges("-n", two) == ["10.2.0.0/24"]
    assert kubectl.ranges("--kubeconfig", other) == ["10.2.0.0/24"]
    assert kubectl.ranges("--kubeconfig", other, "--namespace", one) == ["10.1.0.0/24"]
    assert kubectl.ranges(KUBECONFIG=other) == ["10.2.0.0/24"]
    assert kubectl.ranges(KUBECONFIG=f"{tmp_path}/none:{other}:{tmp_path}/.kube/config") == ["10.2.0.0/24"]
    unknown = kubectl.run("whereabouts", "show", "--context", "nowhere")
    assert (unknown.returncode, "'nowhere' is not among its contexts" in unknown.stderr) == (1, True)


@pytest.mark.apiserver
def test_without_kubectl_the_options_name_a_cluster_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = api_server()
    namespace = server.namespace()
    pool(server, namespace, "10.3.0.0/24")
    path = kubeconfig(tmp_path / "config", server.server, "elsewhere", ADMIN, server.authority)
    assert main(["show", "--kubeconfig", path, "-n", namespace]) == 0
    assert "10.3.0.0/24" in capsys.readouterr().out


def test_kubectl_without_a_kubeconfig_says_which_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "")
    assert main(["show"], kubectl=True) == 1
    assert capsys.readouterr().err == f"whereabouts: kubeconfig {tmp_path}/.kube/config does not exist\n"


def test_options_of_a_cluster_are_refused_for_another_datastore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.db").touch()
    assert main(["show", "--local", str(tmp_path / "w.db"), "--namespace", "x"]) == 1
    assert "--namespace is for a datastore in Kubernetes, and this one is local" in capsys.readouterr().err


def write(path: Path, **content: Any) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


def test_in_several_kubeconfigs_the_first_to_define_a_thing_does(tmp_path: Path) -> None:
    user = {"name": "u", "user": {"tokenFile": "token"}}
    first = write(tmp_path / "a" / "config", users=[user])
    (tmp_path / "a" / "token").write_text("of-a")
    clusters = [{"name": name, "cluster": {"server": f"https://{name}"}} for name in ("c", "d")]
    contexts = [
        {"name": f"in-{name}", "context": {"cluster": name, "user": "u", "namespace": f"n-{name}"}}
        for name in ("c", "d")
    ]
    second = write(
        tmp_path / "b" / "config",
        users=[{"name": "u", "user": {"token": "of-b"}}],
        clusters=clusters,
        contexts=contexts,
        **{"current-context": "in-c"},
    )
    third = write(tmp_path / "b" / "last", **{"current-context": "in-d"})
    paths = [str(tmp_path / "missing"), first, second, third]
    access = from_kubeconfigs(paths)()
    assert (access.server, access.namespace, access.authorization) == ("https://c", "n-c", "Bearer of-a")
    access = from_kubeconfigs(paths, "in-d")()
    assert (access.server, access.namespace, access.authorization) == ("https://d", "n-d", "Bearer of-a")
    assert from_kubeconfig(second, "in-d")().authorization == "Bearer of-b"
    with pytest.raises(AccessError, match="'in-e' is not among its contexts"):
        from_kubeconfig(second, "in-e")()
    with pytest.raises(AccessError, match="missing does not exist"):
        from_kubeconfigs(paths[:1])()
