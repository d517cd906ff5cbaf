"""whereabouts reconcile --now, on the double and on a real API server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from whereabouts.cli import main

from .cluster_objects import delete_pod
from .cluster_servers import BOTH, opened
from .live_cluster import Cluster


@pytest.fixture(params=BOTH)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    with opened(request.param) as server:
        cluster = Cluster(server, tmp_path)
        yield cluster
        cluster.store.close()


def test_it_frees_what_dead_pods_left_and_tells_what(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster.node()
    live, dead = cluster.pod("live", node), cluster.pod("dead", node)
    delete_pod(cluster.server, cluster.namespace, "dead")
    assert main(["reconcile", "--now", "--kubeconfig", cluster.kubeconfig, "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["address"] for one in told["freed"]] == [dead.address]
    assert cluster.held().keys() == {live.address}


def test_it_does_not_wait_longer_than_it_may(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    dead = cluster.add("dead", cluster.node(), "")
    assert main(["reconcile", "--now", "--kubeconfig", cluster.kubeconfig, "--wait", "0"]) == 0
    assert "1 more may be nobody's" in capsys.readouterr().err
    assert cluster.held().keys() == {dead.address}


def test_without_a_cluster_it_says_what_is_missing_and_frees_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.db"
    path.touch()
    assert main(["reconcile", "--now", "--local", str(path)]) == 2
    assert "--cluster" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--node", "n"], ["--all-nodes"], ["--network", "n"], ["--dry-run"]])
def test_options_that_speak_of_a_list_are_refused(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would seem to limit what is freed."""
    path = tmp_path / "w.db"
    path.touch()
    assert main(["reconcile", "--now", "--local", str(path), *option]) == 2
    assert option[0] in capsys.readouterr().err


def test_a_list_is_read_with_no_option_that_speaks_of_the_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.db"
    path.touch()
    options = ["--valid-attachments", "-", "--cluster", "kubeconfig"]
    assert main(["reconcile", "--local", str(path), *options]) == 2
    assert "--cluster" in capsys.readouterr().err


def test_a_cluster_is_not_asked_about_the_addresses_of_another(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    live = cluster.pod("live", cluster.node())
    other = ["--cluster", cluster.kubeconfig]
    assert main(["reconcile", "--now", "--kubeconfig", cluster.kubeconfig, *other]) == 1
    assert "--cluster" in capsys.readouterr().err
    assert cluster.held().keys() == {live.address}
