"""Loading a configuration: network configuration, flat file and CNI_ARGS, parted by NUL.

Whatever tenants and operators write, there is a checked configuration or a ConfigError: nothing else is
raised, no secret is shown, and where nothing is wrong DEL loads the very configuration that ADD did.
"""

import json
from typing import Any

from fuzz.json_mutation import mutator
from fuzz.target import Target
from tests.config_cases import FLAT_PATH, MemoryFiles
from whereabouts.cni.args import CniArgs, read_args
from whereabouts.cni.errors import CniError
from whereabouts.cni.json_object import JsonError, decode_object
from whereabouts.cni.results import Result, print_result
from whereabouts.cni.versions import SUPPORTED
from whereabouts.config import Config, ConfigError, load
from whereabouts.config.keys import DATASTORES, KEYS, LOG_LEVELS
from whereabouts.config.network_config import read_network_config
from whereabouts.pool import PoolKey, view_of

SECRET = "a-password-that-nobody-may-see"


def check(data: bytes) -> None:
    """Load it as a call does, and as the controller does."""
    config, flat, args, *_ = *data.split(b"\0"), b"", b""
    files = MemoryFiles({FLAT_PATH: flat}) if flat else MemoryFiles()
    _check_definition(config, files)
    try:
        decoded = decode_object(config)
    except JsonError:
        return
    given = _args(args)
    said, strict = _load(decoded, files, given, lenient=False)
    more, lenient = _load(decoded, files, given, lenient=True)
    assert strict is None or lenient == strict, "DEL loads another configuration than ADD"
    if _is_secret(decoded, flat) and SECRET.encode() not in args:
        assert SECRET not in said + more


def _check_definition(config: bytes, files: MemoryFiles) -> None:
    try:
        plugin, network, version = read_network_config(config, "net")
        load(plugin, network=network, cni_version=version, files=files)
    except ConfigError:
        pass


def _args(text: bytes) -> CniArgs:
    try:
        return read_args(text.decode("utf-8", "surrogateescape"))
    except CniError:
        return CniArgs()


def _load(decoded: Any, files: MemoryFiles, args: CniArgs, lenient: bool) -> tuple[str, Config | None]:
    """What is said, and the configuration."""
    version = SUPPORTED[len(args.ip) % len(SUPPORTED)]
    try:
        config = load(
            decoded,
            network="net",
            files=files,
            cni_version=version,
            container_id="c",
            args=args,
            lenient=lenient,
        )
    except ConfigError as error:
        return str(error), None
    _check_config(config, lenient)
    return repr(config), config


def _is_secret(decoded: Any, flat: bytes) -> bool:
    """Whether the secret stands nowhere but where the password belongs."""
    return SECRET not in json.dumps([_without_password(decoded), _without_password(_json(flat))])


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode(errors="replace")


def _without_password(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_password(of) for key, of in value.items() if key.lower() != "etcd_password"}
    return list(map(_without_password, value)) if isinstance(value, list) else value


def _check_config(config: Config, lenient: bool) -> None:
    assert config.datastore in DATASTORES
    assert (config.etcd is not None) == (config.datastore == "etcd")
    assert config.datastore != "kubernetes" or config.kubeconfig
    assert config.log_level in LOG_LEVELS
    assert (
        lenient
        or config.leader.lease_duration > config.leader.renew_deadline > config.leader.retry_period > 0
    )
    for one in config.ranges:
        network = one.range.network
        assert int(network.network_address) <= one.range.first <= one.range.last
        assert one.range.last <= int(network.broadcast_address)
        assert 0 <= one.range.capacity() <= network.num_addresses
        assert one.gateway is None or one.gateway.version == one.range.version
        assert PoolKey(config.network_name, str(network)).name
        assert view_of(one.range)
    for static in config.static:
        assert static.gateway is None or static.gateway.version == static.address.version
    if config.static:
        json.loads(print_result(Result(config.static, config.routes, config.dns), config.cni_version))


def _seed(ipam: dict[str, Any], flat: dict[str, Any] | None = None, args: str = "", **top: Any) -> bytes:
    config = {"name": "net", "cniVersion": "1.0.0", "ipam": {"type": "whereabouts", **ipam}, **top}
    parts = [json.dumps(config), json.dumps(flat) if flat is not None else "", args]
    return "\0".join(parts).encode()


POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=c;K8S_POD_UID=u"
SEEDS = (
    _seed({"range": "192.168.2.225/28"}, None, POD),
    _seed(
        {
            "range": "192.168.2.225-192.168.2.230/28",
            "range_start": "192.168.2.226",
            "range_end": "192.168.2.229",
            "exclude": ["192.168.2.229/30", "192.168.2.236/32"],
            "gateway": "192.168.2.1",
            "exclude_gateway": True,
            "enable_l3": True,
            "allow_dot_zero": True,
        }
    ),
    _seed({"range": "fd00::/64", "ipRanges": [{"range": "10.0.0.0/8", "exclude": ["10.0.0.0/24"]}]}),
    _seed({"ipRanges": [{"range": "fd00::/116", "gateway": "fd00::1", "range_start": "fd00::9"}]}),
    _seed({"range": "10.0.0.0/16", "node_slice_size": "/24", "node_slice_borrow": True, "network_name": "n"}),
    _seed(
        {
            "node_slice_size": "24",
            "ipRanges": [{"range": "10.0.0.0/16"}, {"range": "fd00::/64", "node_slice_size": "/120"}],
        }
    ),
    _seed(
        {
            "addresses": [{"address": "10.1.1.1/24", "gateway": "10.1.1.254"}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.1.254", "mtu": 1400, "table": 5, "scope": 0}],
            "dns": {"nameservers": ["10.0.0.53"], "domain": "d", "search": ["s"], "options": ["o"]},
        },
        None,
        "IP=10.2.2.2/24,fd00::2/64;GATEWAY=10.2.2.254,fd00::1",
    ),
    _seed(
        {"range": "10.0.0.0/8", "log_level": "verbose", "log_file": "/l", "sleep_for_race": 0},
        {
            "datastore": "etcd",
            "etcd_host": "https://e:2379",
            "etcd_username": "u",
            "etcd_password": SECRET,
            "etcd_key_file": "/k",
            "etcd_cert_file": "/c",
            "etcd_ca_cert_file": "/ca",
            "etcd_prefix": "/p",
            "leader_lease_duration": 1500,
            "leader_renew_deadline": 1000,
            "leader_retry_period": 500,
        },
    ),
    _seed(
        {"Range": "10.0.0.0/8", "etcd_password": [SECRET], "enable_overlapping_ranges": False},
        {
            "datastore": "kubernetes",
            "kubernetes": {"kubeconfig": "/k", "k8s_api_root": "u"},
            "configuration_path": "/x",
            "reconciler_cron_expression": "30 4 * * *",
            "coexist_with_upstream": True,
            "local": {"path": "/db"},
        },
    ),
    _seed({}, plugins=[{"type": "bridge"}, {"type": "macvlan", "ipam": {"type": "whereabouts"}}]),
)
WORDS = (
    *sorted({key for name, known in KEYS.items() for key in (name, *known.members)}),
    *("whereabouts", "ipam", "plugins", "cniVersion", "name", "local", "etcd", "kubernetes", "/24", "/120"),
    *(
        "10.0.0.0/8",
        "10.0.0.0/31",
        "10.0.0.1-10.0.0.9/24",
        "fd00::/64",
        "::/0",
        "0.0.0.0/0",
        "::ffff:10.0.0.0/104",
    ),
    *("10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "010.000.000.001", "10.0.0.0/32", "255.255.255.255", SECRET),
)


TARGET = Target(check, SEEDS, (*WORDS, *POD.split(";"), "IP=", "GATEWAY="), mutator(WORDS))
