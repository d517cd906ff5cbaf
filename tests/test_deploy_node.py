"""The containers of the manifests at work, with the mounts, rights and command lines that they have there."""

import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .accounts import Account, account, permissions
from .api_server import api_server, resources
from .cni_calls import LONG, Runtime
from .deployment import pod_templates, uninstaller, written
from .played_containers import Player, Process, unplayable

pytestmark = [
    pytest.mark.apiserver,
    pytest.mark.skipif(bool(unplayable()), reason=unplayable()),
]
TEMPLATES = pod_templates([*written(), uninstaller()])


@contextmanager
def player(name: str, folder: Path, *workloads: str) -> Iterator[tuple[Player, Account]]:
    """A host for the pods of these workloads, and the account ``name`` that they have."""
    with (
        tempfile.TemporaryDirectory(prefix="wn-") as host,  # its path is short: sockets need one
        account(api_server(), permissions(name), folder) as access,
    ):
        os.chmod(host, 0o755)
        made = Player(Path(host), access, *(TEMPLATES[workload] for workload in workloads))
        try:
            yield made, access
        finally:
            made.close()


def _objects(access: Account, path: str) -> list[Any]:
    reply = access.server.call("GET", path)
    assert reply.status == 200
    return list(reply.body["items"])


def test_the_daemonset_serves_pods_of_a_bare_node_and_leaves_nothing_there(tmp_path: Path) -> None:
    with player("whereabouts", tmp_path, "whereabouts", "whereabouts-uninstall") as (node, access):
        # Some distributions give these to a user of their own, whose rights root without capabilities lacks.
        for path in ("/opt/cni/bin", "/etc/cni/net.d"):
            node.path(path).mkdir(parents=True)
            os.chown(node.path(path), 1234, 1234)
        node.path("settings").mkdir()
        node.path("settings/whereabouts.conf").write_text('{"log_level": "verbose"}')
        install = node.start("install")
        assert install.wait() == 0, install.lines

        agent, token = node.start("whereabouts"), node.start("token")
        agent.wait_for("serving on ")
        token.wait_for("following ")
        assert int(agent.status("CapEff"), 16) == 0
        assert not any(" [error] " in line for line in agent.lines), agent.lines

        plugin = node.path("/opt/cni/bin/whereabouts")
        # The plugin runs on this machine, whose /run is not the node's.
        socket = node.path("/run/whereabouts/agent.sock")
        plugin.with_name("whereabouts.socket-path").write_text(f"{socket}\n")
        runtime = Runtime(plugin, {"range": "10.0.0.0/24"})
        assert runtime.add("web-1") == ["10.0.0.1"]
        (block,) = _objects(access, resources(access.namespace, "addressblocks"))
        assert block["spec"]["cidr"] == "10.0.0.0/24"

        _rotate(node, access, token)
        runtime.delete("web-1")
        assert (agent.end(), token.end()) == (0, 0)

        assert node.start("uninstall").wait() == 0
        for path in ("/opt/cni/bin", "/etc/cni/net.d"):
            assert list(node.path(path).iterdir()) == []


def _rotate(node: Player, access: Account, token: Process) -> None:
    conf = json.loads(node.path("/etc/cni/net.d/whereabouts.d/whereabouts.conf").read_text())
    kubeconfig = node.path(conf["kubernetes"]["kubeconfig"])
    assert conf["log_level"] == "verbose"
    assert access.token in kubeconfig.read_text()
    fresh = access.issued_token()
    node.token.write_text(fresh)
    token.wait_for("wrote /host/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig")
    assert fresh in kubeconfig.read_text()


def test_the_controller_leads_and_reads_its_schedule_as_a_user_without_rights_on_its_machine(
    tmp_path: Path,
) -> None:
    with player("whereabouts-controller", tmp_path, "whereabouts-controller") as (pod, access):
        pod.path("cron-schedule").mkdir(parents=True)
        pod.path("cron-schedule/config").write_text("17 3 * * *\n")
        controller = pod.start("whereabouts")
        controller.wait_for("the reconciler runs at '17 3 * * *'")
        assert controller.status("Uid").split() == ["65532"] * 4
        assert int(controller.status("CapEff"), 16) == 0
        (lease,) = _objects(access, f"/apis/coordination.k8s.io/v1/namespaces/{access.namespace}/leases")
        assert lease["spec"]["holderIdentity"]
        where = controller.wait_for("metrics and probes on ").rpartition(" ")[2]
        for path in ("/healthz", "/readyz"):
            with urllib.request.urlopen(f"{where}{path}", timeout=LONG) as answer:
                assert answer.status == 200
        assert controller.end() == 0
        assert not any("forbidden" in line for line in controller.lines), controller.lines
