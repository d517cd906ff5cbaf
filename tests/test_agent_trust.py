"""What a tenant's network configuration may not make of the operator's flat file."""

import json
from pathlib import Path
from typing import Any

import pytest

from whereabouts.agent.trust import TrustedFiles
from whereabouts.config import Config, ConfigError, load
from whereabouts.config.flat_file import FLAT_FILES

ETCD = {"etcd_host": "https://10.0.0.7", "etcd_username": "w", "etcd_password": "secret"}


class Host(TrustedFiles):
    """A host whose operator has written a flat file."""

    flat: bytes

    def read(self, path: str) -> bytes | None:
        return self.flat if path == FLAT_FILES[0] else super().read(path)


def loaded(directory: Path, operators: dict[str, Any], **tenants: Any) -> Config:
    host = Host([str(directory)])
    host.flat = json.dumps(operators).encode()
    ipam = {"type": "whereabouts", "range": "10.0.0.0/24", **tenants}
    return load({"ipam": ipam}, network="n", container_id="c", files=host)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("etcd_host", "tenant.example:2379"),
        ("etcd_host", "http://10.0.0.7"),
        ("etcd_prefix", "/registry/pods/"),
        ("etcd_username", "root"),
    ],
)
@pytest.mark.parametrize("spelled", [str.lower, str.upper])
def test_the_operators_etcd_is_used_as_the_operator_says_or_not_at_all(
    tmp_path: Path, key: str, value: str, spelled: Any
) -> None:
    with pytest.raises(ConfigError, match=f"{key} .*whereabouts.conf") as caught:
        loaded(tmp_path, ETCD, **{spelled(key): value})
    assert "secret" not in str(caught.value)


def test_credentials_do_not_go_to_a_host_of_the_tenant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="etcd_host"):
        loaded(tmp_path, {"etcd_username": "w", "etcd_password": "secret"}, etcd_host="tenant.example")


def test_what_the_operator_says_may_be_repeated(tmp_path: Path) -> None:
    config = loaded(tmp_path, ETCD, **ETCD, etcd_prefix="/whereabouts/v1/")
    assert config.etcd is not None
    assert config.etcd.password.reveal() == "secret"


def test_a_tenant_may_name_an_etcd_where_the_operator_has_none(tmp_path: Path) -> None:
    config = loaded(tmp_path, {"datastore": "local"}, datastore="etcd", etcd_host="tenant.example")
    assert config.etcd is not None
    assert config.etcd.host == "tenant.example"


@pytest.mark.parametrize(
    "keys",
    [
        {"log_file": "/etc/shadow"},
        {"kubernetes": {"kubeconfig": "/etc/kubernetes/admin.conf"}},
        {"local": {"path": "/srv/other.db"}},
    ],
)
def test_paths_in_a_flat_file_that_the_tenant_names_are_the_tenants(
    tmp_path: Path, keys: dict[str, Any]
) -> None:
    (tmp_path / "whereabouts.conf").write_text(json.dumps(keys))
    for named in (tmp_path, tmp_path / "whereabouts.conf"):
        with pytest.raises(ConfigError, match="--allow-directory"):
            loaded(tmp_path, {}, configuration_path=str(named))
    assert loaded(tmp_path, keys)
