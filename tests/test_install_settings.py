"""What an operator adds to whereabouts.conf: it is checked, installed each time, and taken away again."""

import json
from pathlib import Path

import pytest

from tests.installations import Installation, installation
from whereabouts.cli import main
from whereabouts.config import load
from whereabouts.install.errors import InstallError
from whereabouts.install.operator_settings import INSTALLERS, read_operator_settings

from .config_cases import FLAT_PATH, MemoryFiles

ETCD = {"datastore": "etcd", "etcd_host": "10.0.0.7:2379", "etcd_username": "w", "etcd_password": "secret"}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    made = installation(tmp_path)
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    return made


def _written(folder: Path, content: object) -> str:
    path = folder / "settings.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def _install(host: Installation, file: str) -> int:
    return main(["install", f"--service-account={host.account.directory}", f"--settings={file}"])


def test_settings_stand_in_the_conf_beside_what_the_installer_says(
    host: Installation, tmp_path: Path
) -> None:
    file = _written(tmp_path, {"coexist_with_upstream": True, "log_level": "error"})
    for _ in range(2):
        assert _install(host, file) == 0
        assert json.loads(host.conf.read_text()) == {
            "datastore": "kubernetes",
            "configuration_path": str(host.folder),
            "reconciler_cron_expression": "30 4 * * *",
            "kubernetes": {"kubeconfig": str(host.kubeconfig)},
            "coexist_with_upstream": True,
            "log_level": "error",
        }


def test_settings_may_name_another_datastore(host: Installation, tmp_path: Path) -> None:
    assert _install(host, _written(tmp_path, ETCD)) == 0
    files = MemoryFiles({FLAT_PATH: host.conf.read_bytes()})
    plugin = {"name": "net", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24"}}
    config = load(plugin, network="net", cni_version="1.0.0", files=files, container_id="cafe")
    assert config.datastore == "etcd"
    assert config.etcd is not None
    assert config.etcd.password.reveal() == "secret"
    assert host.conf.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("file", ["/nowhere/settings.json", ""])
def test_without_a_file_nothing_is_added(host: Installation, file: str) -> None:
    assert _install(host, file) == 0
    assert len(json.loads(host.conf.read_text())) == 4


def test_uninstall_with_the_same_settings_removes_the_conf(host: Installation, tmp_path: Path) -> None:
    file = _written(tmp_path, ETCD)
    _install(host, file)
    assert main(["uninstall"]) == 0
    assert host.conf.exists()
    assert main(["uninstall", f"--settings={file}"]) == 0
    assert not host.conf.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "settings.json"),
        ("[]", "settings.json"),
        ({"etcd_hots": "x"}, "'etcd_hots'"),
        ({"Datastore": "etcd"}, "'Datastore'"),
        ({"log_level": 5}, "log_level"),
        ({"coexist_with_upstream": "yes"}, "coexist_with_upstream"),
        *(({key: ""}, key) for key in INSTALLERS),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_installed(
    content: object, named: str, host: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = _written(tmp_path, content)
    with pytest.raises(InstallError, match=named):
        read_operator_settings(file)
    assert _install(host, file) == 1
    assert named in capsys.readouterr().err
    assert host.state() == {}


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    for content in (
        '{"etcd_password": "hush", "datastore": 5}',
        '{"etcd_password": ["hush"]}',
        '{"a": "hush"',
    ):
        with pytest.raises(InstallError) as raised:
            read_operator_settings(_written(tmp_path, content))
        assert "hush" not in str(raised.value)
