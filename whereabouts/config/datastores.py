"""Which datastore a configuration means, and how it is reached."""

from __future__ import annotations

from whereabouts.cni.errors import quote
from whereabouts.config.errors import ConfigError, Problems
from whereabouts.config.keys import DATASTORES, KEYS
from whereabouts.config.members import Members
from whereabouts.config.values import EtcdConfig, Secret

_LONGEST_NETWORK_NAME = 200
"""Leaves room for node and range in the name of a Kubernetes object, which has 253 characters at most."""
_ALPHANUMERIC = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_OBJECT_NAME = _ALPHANUMERIC | frozenset("-.")


def choose_datastore(config: Members) -> str:
    """Tell which of DATASTORES holds the records: the one that is named, else the one that is set up.

    Raises ConfigError for another name, and where the key is missing without which the datastore cannot
    be reached.
    """
    named = config.text("datastore")
    if named and named not in DATASTORES:
        known = ", ".join(DATASTORES)
        raise _not_configured("You", "datastore", f"{quote(named)} is none of {known}")
    etcd_host, kubeconfig = config.text("etcd_host"), config.object("kubernetes").text("kubeconfig")
    chosen = named or ("etcd" if etcd_host else "kubernetes" if kubeconfig else "local")
    if chosen == "etcd" and not etcd_host:
        raise _not_configured("You", "etcd_host", "it is not set")
    if chosen == "kubernetes" and not kubeconfig:
        raise _not_configured("you", "kubernetes.kubeconfig", "it is not set")
    return chosen


def changed_etcd_keys(inline: Members, flat: Members) -> list[str]:
    """Keys that would make ``inline`` use the etcd, or the credentials, of the flat file in another way."""
    keys = [key for key in KEYS if key.startswith("etcd_")]
    if not any(map(flat.own_text, keys)):
        return []
    return [key for key in keys if inline.own_text(key) not in ("", flat.text(key))]


def read_etcd(config: Members, problems: Problems) -> EtcdConfig:
    """How etcd is reached."""
    key_file, cert_file = config.text("etcd_key_file"), config.text("etcd_cert_file")
    if bool(key_file) != bool(cert_file):
        problems.warnings.append("etcd_key_file and etcd_cert_file have an effect only together")
    prefix = config.text("etcd_prefix")
    return EtcdConfig(
        config.text("etcd_host"),
        config.text("etcd_username"),
        Secret(config.text("etcd_password")),
        key_file,
        cert_file,
        config.text("etcd_ca_cert_file"),
        prefix if prefix.endswith("/") else f"{prefix}/",
    )


def check_network_name(name: str, datastore: str, problems: Problems) -> None:
    """Report a ``network_name`` that could not be part of a record's name."""
    if len(name) > _LONGEST_NETWORK_NAME:
        problems.report(
            f"network_name has {len(name)} characters, at most {_LONGEST_NETWORK_NAME} are allowed"
        )
    elif not name.isprintable():
        problems.report(f"network_name {quote(name)} has characters that cannot be printed")
    elif datastore == "kubernetes" and name and not _is_object_name(name):
        problems.report(
            f"network_name {quote(name)} cannot be part of the name of a Kubernetes object: "
            'only lower-case letters, digits, "-" and "." are allowed, the first of them no "-" or "."'
        )


def _is_object_name(name: str) -> bool:
    return name[0] in _ALPHANUMERIC and _OBJECT_NAME.issuperset(name) and ".." not in name


def _not_configured(you: str, key: str, reason: str) -> ConfigError:
    """Say so in the words of the Go plugin, which spells the first of them in two ways."""
    return ConfigError(
        f"{you} have not configured the storage engine (looks like you're using an invalid `{key}` "
        f"parameter in your config): {reason}"
    )
