"""What an installation puts on a host, and what is left when it is taken away."""

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installations import CERTIFICATE, TOKEN, Installation, installation
from whereabouts.install import host as host_module
from whereabouts.install.errors import InstallError
from whereabouts.install.installer import install, uninstall
from whereabouts.install.settings import Settings, read_settings
from whereabouts.log import Log

GO_PLUGIN = b"\x7fELF" + b"\0" * 100 + b"Go build ID"


@pytest.fixture
def host(tmp_path: Path) -> Installation:
    return installation(tmp_path)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def log(said: list[str]) -> Iterator[Log]:
    yield Log("debug", said.append)
    assert TOKEN not in "".join(said)


def _uninstall(host: Installation, log: Log) -> None:
    uninstall(str(host.bin_dir), str(host.conf_dir), log)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_everything_is_there_with_its_content_and_mode(host: Installation, log: Log) -> None:
    before = os.umask(0)
    try:
        install(host.settings(socket="/run/other/agent.sock"), log)
    finally:
        os.umask(before)
    assert host.plugin.read_bytes() == host_module.native_plugin()
    assert host.socket_path.read_text() == "/run/other/agent.sock\n"
    assert f'token: "{TOKEN}"' in host.kubeconfig.read_text()
    assert json.loads(host.conf.read_text()) == {
        "datastore": "kubernetes",
        "configuration_path": str(host.folder),
        "kubernetes": {"kubeconfig": str(host.kubeconfig)},
        "reconciler_cron_expression": "30 4 * * *",
    }
    assert host.nodename.read_bytes() == b"node-1.example"
    assert {path.name: _mode(path) for path in (*host.folder.iterdir(), *host.bin_dir.iterdir())} == {
        "whereabouts": 0o755,
        "whereabouts.socket-path": 0o644,
        "whereabouts.kubeconfig": 0o600,
        "whereabouts.conf": 0o600,
        "nodename": 0o600,
    }
    assert _mode(host.folder) == 0o755


def test_a_second_run_touches_nothing(host: Installation, log: Log, said: list[str]) -> None:
    install(host.settings(), log)
    before = host.state()
    assert len(before) == 4
    said.clear()
    install(host.settings(), log)
    assert host.state() == before
    assert not [line for line in said if "wrote" in line]


def test_only_what_changed_is_written(host: Installation, log: Log) -> None:
    install(host.settings(), log)
    before = host.state()
    install(host.settings(WHEREABOUTS_RECONCILER_CRON="@hourly"), log)
    changed = {path for path, state in host.state().items() if before[path] != state}
    assert changed == {str(host.conf)}
    assert json.loads(host.conf.read_text())["reconciler_cron_expression"] == "@hourly"


def test_the_mode_is_that_of_all_three_files_and_a_wide_one_is_warned_of(
    host: Installation, log: Log, said: list[str]
) -> None:
    install(host.settings(), log)
    assert not [line for line in said if "KUBECONFIG_MODE" in line]
    install(host.settings(KUBECONFIG_MODE="640"), log)
    assert {_mode(path) for path in host.folder.iterdir()} == {0o640}
    assert [line for line in said if "KUBECONFIG_MODE is 640: others on this host can use the token" in line]


def test_tls_checks_can_be_switched_off_and_need_no_authority_then(host: Installation, log: Log) -> None:
    host.account.rotate(TOKEN, None)
    install(host.settings(SKIP_TLS_VERIFY="true"), log)
    assert "insecure-skip-tls-verify: true" in host.kubeconfig.read_text()


def test_another_authority_can_be_named(host: Installation, log: Log, tmp_path: Path) -> None:
    (tmp_path / "other.crt").write_text(CERTIFICATE.format("other"))
    install(host.settings(), log)
    first = host.kubeconfig.read_text()
    install(host.settings(KUBE_CA_FILE=str(tmp_path / "other.crt")), log)
    assert host.kubeconfig.read_text() != first


def test_without_a_token_there_is_a_warning_and_nothing_claims_kubernetes(
    host: Installation, log: Log, said: list[str]
) -> None:
    host.account.rotate(None, CERTIFICATE.format("first"))
    install(host.settings(KUBERNETES_SERVICE_HOST=""), log)
    assert not host.kubeconfig.exists()
    assert json.loads(host.conf.read_text()) == {
        "configuration_path": str(host.folder),
        "reconciler_cron_expression": "30 4 * * *",
    }
    assert host.plugin.exists()
    warning = next(line for line in said if "[error]" in line)
    assert "there is no token" in warning
    assert "unique on this node only" in warning


def test_a_pod_without_a_token_is_refused_unless_the_datastore_is_another_one(
    host: Installation, log: Log
) -> None:
    host.account.rotate(None, CERTIFICATE.format("first"))
    with pytest.raises(
        InstallError, match=r"says that this is a pod: let the pod mount .* --without-kubernetes"
    ):
        install(host.settings(), log)
    assert not host.plugin.exists()
    install(host.settings()._replace(without_kubernetes=True), log)
    assert host.plugin.exists()


def test_a_token_that_goes_missing_does_not_turn_a_cluster_into_single_nodes(
    host: Installation, log: Log
) -> None:
    install(host.settings(), log)
    before = host.state()
    host.account.rotate(None, CERTIFICATE.format("first"))
    install(host.settings(), log)
    assert host.state() == before


def test_without_a_node_name_the_file_is_left_with_a_warning(
    host: Installation, log: Log, said: list[str]
) -> None:
    install(host.settings(NODENAME=""), log)
    assert not host.nodename.exists()
    assert [line for line in said if "NODENAME is not set" in line]
    host.nodename.write_text("node-0")
    install(host.settings(NODENAME=""), log)
    assert host.nodename.read_text() == "node-0"


def test_a_socket_path_of_an_earlier_installation_goes_with_it(host: Installation, log: Log) -> None:
    install(host.settings(socket="/run/other/agent.sock"), log)
    install(host.settings(), log)
    assert not host.socket_path.exists()


def test_the_go_plugin_is_replaced(host: Installation, log: Log) -> None:
    host.plugin.write_bytes(GO_PLUGIN)
    install(host.settings(), log)
    assert host.plugin.read_bytes() == host_module.native_plugin()


def test_planted_links_are_replaced_and_their_targets_untouched(
    host: Installation, log: Log, tmp_path: Path
) -> None:
    victim = tmp_path / "shadow"
    victim.write_text("root:*")
    host.folder.mkdir()
    planted = (host.plugin, host.socket_path, host.kubeconfig, host.conf, host.nodename)
    for path in planted:
        path.symlink_to(victim)
    install(host.settings(socket="/run/other/agent.sock"), log)
    assert victim.read_text() == "root:*"
    assert not [path for path in planted if path.is_symlink()]


def test_a_planted_directory_link_is_refused(host: Installation, log: Log, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    host.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InstallError, match=r"whereabouts\.d: .* not a symbolic link"):
        install(host.settings(), log)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_plugin_that_was_not_built_is_said_before_anything_is_written(
    host: Installation, log: Log, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host_module, "files", lambda _: tmp_path)
    with pytest.raises(
        InstallError, match="the native plugin is not in this package: install whereabouts from a wheel"
    ):
        install(host.settings(), log)
    assert host.state() == {}


def test_an_empty_token_is_an_error_that_changes_nothing(host: Installation, log: Log) -> None:
    install(host.settings(), log)
    before = host.state()
    host.account.rotate("", CERTIFICATE.format("first"))
    with pytest.raises(InstallError, match="token is empty"):
        install(host.settings(), log)
    assert host.state() == before


@pytest.mark.parametrize("step", ["open", "write", "fchmod", "fsync", "replace"])
def test_an_upgrade_that_fails_at_any_step_leaves_each_file_whole_and_can_be_repeated(
    host: Installation, log: Log, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    host.plugin.write_bytes(GO_PLUGIN)
    install(host.settings(NODENAME="before", socket="/run/before"), log)
    host.plugin.write_bytes(GO_PLUGIN)
    old = {path: state[3] for path, state in host.state().items()}
    host.account.rotate(TOKEN + "2", CERTIFICATE.format("second"))
    after = host.settings(socket="/run/after", WHEREABOUTS_RECONCILER_CRON="@hourly", NODENAME="after")
    calls = _run_with_every_step_failing_once(lambda: install(after, log), monkeypatch, step, host, old)
    assert calls >= 5
    new = {path: state[3] for path, state in host.state().items()}
    assert new.keys() == old.keys()
    assert not [path for path in new if new[path] == old[path]]


def _run_with_every_step_failing_once(
    run: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    host: Installation,
    old: dict[str, bytes],
) -> int:
    """Let the first, second, ... call of a step fail until ``run`` gets through; the number of failures."""
    real = getattr(os, step)
    for failing in range(1000):
        count = -1

        def failing_once(*args: Any, failing: int = failing, **kwargs: Any) -> Any:
            nonlocal count
            if step != "open" or args[1] & os.O_CREAT:
                count += 1
                if count == failing:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*args, **kwargs)

        for path, content in old.items():
            Path(path).write_bytes(content)
        with monkeypatch.context() as patched:
            patched.setattr(os, step, failing_once)
            try:
                run()
            except InstallError as error:
                assert "Input/output error" in str(error)  # noqa: PT017 - not every round fails
            else:
                return failing
        assert host.state().keys() == old.keys()
    raise AssertionError("it never got through")


# ---- uninstall ----


def test_uninstall_leaves_what_was_there_before(host: Installation, log: Log) -> None:
    (host.bin_dir / "macvlan").write_bytes(b"other plugin")
    (host.conf_dir / "00-multus.conf").write_text("{}")
    before = host.state()
    install(host.settings(socket="/run/other/agent.sock"), log)
    (host.bin_dir / ".whereabouts.0123456789abcdef.new").touch()
    (host.folder / ".whereabouts.kubeconfig.0123456789abcdef.new").touch()
    _uninstall(host, log)
    assert host.state() == before
    assert not host.folder.exists()


def test_uninstall_can_be_repeated_and_come_first(host: Installation, log: Log) -> None:
    _uninstall(host, log)
    install(host.settings(), log)
    _uninstall(host, log)
    _uninstall(host, log)
    assert host.state() == {}
    uninstall("/nowhere/bin", "/nowhere/net.d", log)


def test_uninstall_leaves_foreign_files_in_the_folder(host: Installation, log: Log) -> None:
    install(host.settings(), log)
    (host.folder / "whereabouts.db").write_bytes(b"somebody's store")
    _uninstall(host, log)
    assert [path.name for path in host.folder.iterdir()] == ["whereabouts.db"]


def test_uninstall_leaves_what_the_go_plugins_installer_wrote(
    host: Installation, log: Log, said: list[str]
) -> None:
    host.folder.mkdir()
    host.plugin.write_bytes(GO_PLUGIN)
    host.kubeconfig.write_text("# Kubeconfig file for Multus CNI plugin.\napiVersion: v1\n")
    host.conf.write_text('{"datastore": "kubernetes", "reconciler_cron_expression": "30 4 * * *"}\n')
    host.nodename.write_text("node-1")
    before = host.state()
    _uninstall(host, log)
    assert host.state() == before
    assert len([line for line in said if " left " in line and "[error]" in line]) == 3


def test_uninstall_leaves_a_conf_that_somebody_changed_but_never_the_token(
    host: Installation, log: Log
) -> None:
    install(host.settings(), log)
    conf = json.loads(host.conf.read_text())
    host.conf.write_text(json.dumps({**conf, "log_level": "debug"}, indent=2) + "\n")
    _uninstall(host, log)
    assert sorted(path.name for path in host.folder.iterdir()) == ["nodename", "whereabouts.conf"]
    assert not host.plugin.exists()


def test_uninstall_removes_an_installation_without_a_token(host: Installation, log: Log) -> None:
    host.account.rotate(None, None)
    install(host.settings(KUBERNETES_SERVICE_HOST=""), log)
    _uninstall(host, log)
    assert host.state() == {}


def test_uninstall_does_not_follow_links(host: Installation, log: Log, tmp_path: Path) -> None:
    install(host.settings(), log)
    elsewhere = tmp_path / "elsewhere"
    host.folder.rename(elsewhere)
    host.folder.symlink_to(elsewhere)
    with pytest.raises(InstallError, match="not a symbolic link"):
        _uninstall(host, log)
    assert len(list(elsewhere.iterdir())) == 3


# ---- settings ----


def test_the_variables_of_the_go_plugins_installer_are_understood() -> None:
    environment = {
        "CNI_BIN_DIR": "/host/bin/",
        "CNI_CONF_DIR": "/host/conf",
        "WHEREABOUTS_RECONCILER_CRON": "@daily",
        "KUBE_CA_FILE": "/ca.crt",
        "SKIP_TLS_VERIFY": "false",
        "KUBECONFIG_MODE": "640",
        "KUBERNETES_SERVICE_PROTOCOL": "https",
        "KUBERNETES_SERVICE_HOST": "h",
        "KUBERNETES_SERVICE_PORT": "1",
        "WHEREABOUTS_NAMESPACE": "ns",
        "NODENAME": "n",
    }
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    socket = "/run/whereabouts/agent.sock"
    expected = (
        "/host/bin",
        "/host/conf",
        "@daily",
        account,
        "/ca.crt",
        0o640,
        "https",
        "h",
        "1",
        "ns",
        "n",
        socket,
    )
    assert read_settings({}, environment) == Settings(*expected)


def test_the_defaults_are_those_of_the_go_plugins_installer() -> None:
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert read_settings({}, {"CNI_BIN_DIR": ""}) == Settings(
        bin_dir="/host/opt/cni/bin",
        conf_dir="/host/etc/cni/net.d",
        cron="30 4 * * *",
        service_account=account,
        ca_file=f"{account}/ca.crt",
        mode=0o600,
        protocol="https",
        host="",
        port="",
        namespace="kube-system",
        node_name="",
        socket="/run/whereabouts/agent.sock",
    )


def test_an_option_goes_before_its_variable() -> None:
    assert read_settings({"mode": "640", "cron": None}, {"KUBECONFIG_MODE": "600"}).mode == 0o640


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("KUBECONFIG_MODE", "rw"),
        ("KUBECONFIG_MODE", "4755"),
        ("KUBECONFIG_MODE", "68"),
        ("SKIP_TLS_VERIFY", "yes"),
        ("WHEREABOUTS_NAMESPACE", "kube_system"),
        ("WHEREABOUTS_NAMESPACE", "a" * 64),
        ("NODENAME", "../etc/passwd"),
        ("NODENAME", "node 1"),
        ("NODENAME", "a." * 130 + "a"),
    ],
)
def test_a_wrong_value_is_named_with_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InstallError, match=rf"^{variable} is '"):
        read_settings({}, {variable: value})


@pytest.mark.parametrize("socket", ["agent.sock", "/run/" + "a" * 103, "/run/a\nb", "/run/a "])
def test_a_socket_path_that_the_plugin_would_refuse_is_refused(socket: str) -> None:
    with pytest.raises(InstallError, match="--socket is '"):
        read_settings({"socket": socket}, {})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("/host/etc/cni/net.d", "/etc/cni/net.d"),
        ("/etc/cni/net.d", "/etc/cni/net.d"),
        ("/hostile/net.d", "/hostile/net.d"),
        ("/srv/host/net.d", "/srv/host/net.d"),
    ],
)
def test_the_conf_names_paths_as_the_host_has_them(seen: str, expected: str) -> None:
    assert host_module.on_host(seen) == expected


@pytest.mark.skipif(os.path.exists("/host"), reason="there is a /host on this machine")
def test_outside_a_container_the_default_directories_are_not_made(host: Installation, log: Log) -> None:
    with pytest.raises(InstallError, match=r"there is no /host here.*--cni-bin-dir /opt/cni/bin"):
        install(host.settings(CNI_BIN_DIR="", CNI_CONF_DIR=""), log)
    assert not os.path.exists("/host")
