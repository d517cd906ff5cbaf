"""The keys of an ``ipam`` object and of a flat file: their types and what holds where they are not set.

This table is what the reference in ``docs/configuration.md`` is checked against.
"""

from __future__ import annotations

from collections.abc import Mapping

from whereabouts.values import NamedTuple

TEXT = "a string"
FLAG = "true or false"
NUMBER = "a whole number"
TEXTS = "a list of strings"
OBJECT = "an object"
OBJECTS = "a list of objects"

DATASTORES = ("local", "etcd", "kubernetes")
LOG_LEVELS = ("panic", "error", "verbose", "debug")
LOCAL_PATH = "/var/lib/cni/whereabouts/whereabouts.db"
ETCD_PREFIX = "/whereabouts/v1/"


class Key(NamedTuple):
    """The type of a key's value, its default, and the keys of the objects that it holds."""

    kind: str
    default: str | bool | int = ""
    """Instead of a value that is not there, ``""`` or 0. Lists and objects are empty by default."""
    members: Mapping[str, Key] = {}
    secret: bool = False
    """The value is never shown."""


Keys = Mapping[str, Key]

_text = Key(TEXT)
_texts = Key(TEXTS)
_off = Key(FLAG, default=False)
_zero = Key(NUMBER, default=0)

RANGE_KEYS: Keys = {
    "range": _text,
    "range_start": _text,
    "range_end": _text,
    "exclude": _texts,
    "gateway": _text,
}
ADDRESS_KEYS: Keys = {"address": _text, "gateway": _text}
ROUTE_KEYS: Keys = {
    "dst": _text,
    "gw": _text,
    "mtu": _zero,
    "advmss": _zero,
    "priority": _zero,
    "table": _zero,
    "scope": _zero,
}
DNS_KEYS: Keys = {"nameservers": _texts, "domain": _text, "search": _texts, "options": _texts}

KEYS: Keys = {
    "type": _text,
    **RANGE_KEYS,
    "ipRanges": Key(OBJECTS, members={**RANGE_KEYS, "node_slice_size": _text}),
    "addresses": Key(OBJECTS, members=ADDRESS_KEYS),
    "routes": Key(OBJECTS, members=ROUTE_KEYS),
    "dns": Key(OBJECT, members=DNS_KEYS),
    "allow_dot_zero": _off,
    "enable_l3": _off,
    "exclude_gateway": _off,
    "network_name": _text,
    "enable_overlapping_ranges": Key(FLAG, default=True),
    "node_slice_size": _text,
    "node_slice_borrow": _off,
    "datastore": _text,
    "local": Key(OBJECT, members={"path": Key(TEXT, default=LOCAL_PATH)}),
    "kubernetes": Key(OBJECT, members={"kubeconfig": _text, "k8s_api_root": _text}),
    "coexist_with_upstream": _off,
    "etcd_host": _text,
    "etcd_username": _text,
    "etcd_password": Key(TEXT, secret=True),
    "etcd_key_file": _text,
    "etcd_cert_file": _text,
    "etcd_ca_cert_file": _text,
    "etcd_prefix": Key(TEXT, default=ETCD_PREFIX),
    "configuration_path": _text,
    "log_file": _text,
    "log_level": Key(TEXT, default="debug"),
    "leader_lease_duration": Key(NUMBER, default=1500),
    "leader_renew_deadline": Key(NUMBER, default=1000),
    "leader_retry_period": Key(NUMBER, default=500),
    "reconciler_cron_expression": _text,
    "sleep_for_race": _zero,
}

WHICH_RECORDS = frozenset(
    {
        "datastore",
        "local",
        "kubernetes",
        "network_name",
        "enable_overlapping_ranges",
        *(key for key in KEYS if key.startswith("etcd_")),
    }
)
"""Keys that say where the records of allocations are: mistakes in them are never passed over."""

PATHS = (
    "log_file",
    "configuration_path",
    "kubernetes.kubeconfig",
    "local.path",
    "etcd_key_file",
    "etcd_cert_file",
    "etcd_ca_cert_file",
)
"""Keys whose values are paths on the host."""
