"""The kubeconfig follows a service account that the kubelet rotates, and is whole at every moment."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.cni_calls import LONG
from tests.installations import CERTIFICATE, TOKEN, Installation, installation
from tests.processes import ending
from whereabouts.install.credentials import Credentials, read_credentials
from whereabouts.install.follower import CredentialFollower, follow
from whereabouts.install.installer import install, refresh
from whereabouts.install.kubeconfig import kubeconfig_text
from whereabouts.log import SILENT, Log

SERVER = "https://10.96.0.1:443"
FIRST = CERTIFICATE.format("first")


@pytest.fixture
def host(tmp_path: Path) -> Installation:
    return installation(tmp_path)


def _until(condition: Callable[[], bool]) -> None:
    give_up = monotonic() + 20
    while not condition():
        assert monotonic() < give_up, "it did not happen"
        sleep(0.001)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def following(host: Installation, said: list[str]) -> Iterator[Installation]:
    log = Log("debug", said.append)
    install(host.settings(), log)
    follower = CredentialFollower(host.settings(), log, seconds=0.001)
    follower.start()
    _until(lambda: any("kubeconfig is up to date" in line for line in said))
    yield host
    follower.stop()
    assert not re.search(r"eyJ|later", "".join(said))


def _text(token: str, authority: str) -> str:
    return kubeconfig_text(SERVER, "kube-system", Credentials(token, authority.encode()))


def test_a_rotated_token_is_in_the_kubeconfig_soon_and_nothing_else_is_touched(
    following: Installation,
) -> None:
    before = following.state()
    following.account.rotate("later", FIRST)
    _until(lambda: following.kubeconfig.read_text() == _text("later", FIRST))
    assert following.kubeconfig.stat().st_mode & 0o777 == 0o600
    after = following.state()
    assert {path for path in before if before[path] != after.get(path)} == {str(following.kubeconfig)}


def test_a_rotated_authority_is_in_the_kubeconfig_soon(following: Installation) -> None:
    following.account.rotate(TOKEN, CERTIFICATE.format("second"))
    _until(lambda: following.kubeconfig.read_text() == _text(TOKEN, CERTIFICATE.format("second")))


def test_a_rotation_without_a_change_writes_nothing(
    following: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = following.state()
    looks: list[Credentials | None] = []

    def looking(directory: str, ca_file: str | None) -> Credentials | None:
        looks.append(read_credentials(directory, ca_file))
        return looks[-1]

    following.account.rotate(TOKEN, FIRST)
    monkeypatch.setattr("whereabouts.install.follower.read_credentials", looking)
    _until(lambda: len(looks) > 2)
    assert set(looks) == {Credentials(TOKEN, FIRST.encode())}
    assert following.state() == before


@pytest.mark.parametrize(
    ("token", "authority"),
    [("", FIRST), (None, FIRST), ("later", ""), ("later", None), ("later", FIRST[:-5])],
)
def test_in_the_middle_of_a_rotation_the_old_is_kept_and_said_once(
    following: Installation, said: list[str], token: str | None, authority: str | None
) -> None:
    before = following.state()
    following.account.rotate(token, authority)
    _until(lambda: any("following the service account" in line for line in said))
    sleep(0.02)
    assert following.state() == before
    assert len([line for line in said if "following the service account" in line]) == 1
    following.account.rotate("later", CERTIFICATE.format("second"))
    _until(lambda: following.kubeconfig.read_text() == _text("later", CERTIFICATE.format("second")))


def test_a_failing_write_keeps_the_old_and_is_tried_again(
    following: Installation, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = following.state()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _no_room)
        following.account.rotate("later", FIRST)
        _until(lambda: any("No space left on device" in line for line in said))
        assert following.state() == before
    _until(lambda: following.kubeconfig.read_text() == _text("later", FIRST))


def _no_room(descriptor: int) -> None:
    raise OSError(28, os.strerror(28))


def test_an_unforeseen_error_does_not_end_it_and_does_not_tell_a_secret(
    following: Installation, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(TOKEN)

    with monkeypatch.context() as patched:
        patched.setattr("whereabouts.install.follower.refresh", fail)
        following.account.rotate("later", FIRST)
        _until(lambda: any("internal error, please report it: RuntimeError" in line for line in said))
    _until(lambda: following.kubeconfig.read_text() == _text("later", FIRST))


def test_what_was_rotated_between_installing_and_following_is_written(host: Installation) -> None:
    install(host.settings(), SILENT)
    host.account.rotate("later", FIRST)
    stop = threading.Event()
    stop.set()
    follow(host.settings(), SILENT, stop)
    assert host.kubeconfig.read_text() == _text("later", FIRST)


def test_a_token_that_comes_late_makes_kubernetes_the_datastore(host: Installation) -> None:
    host.account.rotate(None, FIRST)
    install(host.settings()._replace(without_kubernetes=True), SILENT)
    assert "datastore" not in json.loads(host.conf.read_text())
    follower = CredentialFollower(host.settings(), SILENT, seconds=0.001)
    follower.start()
    host.account.rotate(TOKEN, FIRST)
    _until(lambda: "datastore" in json.loads(host.conf.read_text()))
    follower.stop()
    assert host.kubeconfig.read_text() == _text(TOKEN, FIRST)


def test_stopping_what_was_never_started_is_no_error(host: Installation) -> None:
    CredentialFollower(host.settings(), SILENT).stop()


def test_a_reader_sees_only_whole_texts_during_a_thousand_rotations(
    host: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # what a crash would leave is not the subject
    generations = [
        Credentials(f"{number}." * (number % 400 + 1), FIRST.encode() * (number % 7 + 1))
        for number in range(1000)
    ]
    whole = {kubeconfig_text(SERVER, "kube-system", one).encode() for one in generations}
    settings = host.settings()
    refresh(settings, generations[0], SILENT)
    seen: list[bytes] = []
    stop = threading.Event()

    def reading() -> None:
        while not stop.is_set():
            seen.append(host.kubeconfig.read_bytes())

    reader = threading.Thread(target=reading)
    reader.start()
    try:
        for generation in generations:
            refresh(settings, generation, SILENT)
    finally:
        stop.set()
        reader.join()
    assert len(set(seen)) > 10
    assert set(seen) <= whole
    assert [path.name for path in host.folder.iterdir() if path.name.endswith(".new")] == []


# ---- the commands ----

PROGRAM = """
import argparse, sys
from whereabouts.errors import WhereaboutsError
from whereabouts.install.command import register
parser = argparse.ArgumentParser()
register(parser.add_subparsers(required=True))
chosen = parser.parse_args()
try:
    sys.exit(chosen.run(chosen))
except WhereaboutsError as error:
    sys.exit(f"whereabouts: {error}")
"""


def _command(host: Installation, *arguments: str, **environment: str) -> list[str]:
    variables = [f"{name}={value}" for name, value in host.environment(**environment).items()]
    return ["env", *variables, sys.executable, "-c", PROGRAM, *arguments]


def test_install_follows_until_it_is_told_to_end(host: Installation) -> None:
    account = str(host.account.directory)
    command = _command(host, "install", "--service-account", account, "--follow")
    with ending(subprocess.Popen(command, stderr=subprocess.PIPE, text=True)) as running:
        _until(host.plugin.exists)
        host.account.rotate("later", FIRST)
        _until(lambda: host.kubeconfig.read_text() == _text("later", FIRST))
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=LONG)
    assert running.returncode == 0
    assert "wrote" in said
    assert TOKEN not in said
    assert "later" not in said


def test_install_and_uninstall_end_with_success(host: Installation) -> None:
    account = str(host.account.directory)
    subprocess.run(_command(host, "install", "--service-account", account), check=True)
    assert len(host.state()) == 4
    subprocess.run(_command(host, "uninstall"), check=True)
    assert host.state() == {}


def test_a_failure_is_one_sentence_and_status_1(host: Installation) -> None:
    account = str(host.account.directory)
    command = _command(host, "install", "--service-account", account, KUBERNETES_SERVICE_HOST="")
    failed = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("whereabouts: KUBERNETES_SERVICE_HOST is not set")
    assert "Traceback" not in failed.stderr
    assert not host.plugin.exists()
