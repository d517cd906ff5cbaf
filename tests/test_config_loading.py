"""Loading a configuration: every key, inline over flat file, each mistake with its error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config_cases import FLAT_PATH, NO_FILES, MemoryFiles, flat, loaded
from tests.test_config_docs import ROWS
from whereabouts.cni.args import CniArgs, read_args
from whereabouts.cni.json_object import decode_object
from whereabouts.cni.results import DNS
from whereabouts.config import Config, ConfigError, EtcdConfig, LeaderTimes, NotOurs, Secret, load
from whereabouts.config.keys import FLAG, KEYS, LOG_LEVELS, NUMBER, OBJECT, TEXT, TEXTS, WHICH_RECORDS
from whereabouts.errors import WhereaboutsError
from whereabouts.log import LEVELS

START = "LoadIPAMConfig - JSON Parsing Error: "
EXAMPLES = {name: json.loads(row.example.strip("`")) for name, row in ROWS.items()}
WRONG: dict[str, Any] = {TEXT: 5, FLAG: "yes", NUMBER: "5", TEXTS: "one", OBJECT: ["x"]}


def refusal(ipam: dict[str, Any], files: MemoryFiles = NO_FILES, **how: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(ipam, files, **how)
    assert isinstance(caught.value, WhereaboutsError)
    return str(caught.value)


def test_nothing_but_the_type_gives_the_defaults() -> None:
    assert loaded({}) == Config(
        network="net",
        cni_version="1.0.0",
        pod_ref="cafe",
        pod_uid="",
        ranges=(),
        static=(),
        routes=(),
        dns=DNS(),
        network_name="",
        overlapping=True,
        node_slice_borrow=False,
        datastore="local",
        local_path="/var/lib/cni/whereabouts/whereabouts.db",
        kubeconfig="",
        coexist_with_upstream=False,
        etcd=None,
        configuration_path="",
        log_file="",
        log_level="debug",
        leader=LeaderTimes(1500, 1000, 500),
        warnings=(),
    )


SIMPLE: list[tuple[str, Any, str, Any]] = [
    ("network_name", "blue", "network_name", "blue"),
    ("enable_overlapping_ranges", False, "overlapping", False),
    ("node_slice_borrow", True, "node_slice_borrow", True),
    ("datastore", "local", "datastore", "local"),
    ("local", {"path": "/srv/a.db"}, "local_path", "/srv/a.db"),
    ("kubernetes", {"kubeconfig": "/k"}, "kubeconfig", "/k"),
    ("coexist_with_upstream", True, "coexist_with_upstream", True),
    ("configuration_path", "/c/x.conf", "configuration_path", "/c/x.conf"),
    ("log_file", "/var/log/w.log", "log_file", "/var/log/w.log"),
    ("log_level", "VERBOSE", "log_level", "verbose"),
    ("leader_lease_duration", 1501, "leader", LeaderTimes(1501, 1000, 500)),
    ("leader_renew_deadline", 1001, "leader", LeaderTimes(1500, 1001, 500)),
    ("leader_retry_period", 501, "leader", LeaderTimes(1500, 1000, 501)),
    ("dns", {"nameservers": ["10.0.0.53"], "options": ["o"]}, "dns", DNS(("10.0.0.53",), options=("o",))),
    ("dns", {"domain": "d", "search": ["s", "t"]}, "dns", DNS((), "d", ("s", "t"))),
]


@pytest.mark.parametrize(("key", "value", "field", "expected"), SIMPLE)
def test_key_is_taken_from_inline_and_from_the_flat_file(
    key: str, value: Any, field: str, expected: Any
) -> None:
    assert getattr(loaded({key: value}), field) == expected
    assert getattr(loaded({}, flat(**{key: value})), field) == expected


@pytest.mark.parametrize(("key", "value", "field", "expected"), SIMPLE)
def test_key_is_found_in_other_capitals_unless_it_is_there_exactly(
    key: str, value: Any, field: str, expected: Any
) -> None:
    assert getattr(loaded({key.upper(): value}), field) == expected
    both = loaded({key.upper(): None, key: value, key.title(): None})
    assert getattr(both, field) == expected
    assert len(both.warnings) == 2 + (key == "configuration_path")


@pytest.mark.parametrize("key", ["k8s_api_root", "sleep_for_race", "reconciler_cron_expression"])
def test_keys_of_old_configurations_are_accepted_without_effect(key: str) -> None:
    name = "kubernetes.k8s_api_root" if key == "k8s_api_root" else key
    ipam = {"kubernetes": {key: EXAMPLES[name]}} if "." in name else {key: EXAMPLES[key]}
    assert loaded(ipam) == loaded({})


def test_other_networks_are_told_apart() -> None:
    for config in ({}, {"ipam": None}, {"IPAM": None}):
        with pytest.raises(NotOurs, match=r"^IPAM config missing 'ipam' key$"):
            load(config, network="net", files=NO_FILES)
    for other, shown in (("host-local", "host-local"), ("", ""), (None, ""), ("Whereabouts", "Whereabouts")):
        with pytest.raises(NotOurs) as caught:
            load({"ipam": {"type": other}}, network="net", files=NO_FILES)
        expected = "only interested in networks whose IPAM type is 'whereabouts'. This one was: "
        assert str(caught.value) == expected + shown
    with pytest.raises(ConfigError) as wrong:
        load({"ipam": "secret"}, network="net", files=NO_FILES)
    assert str(wrong.value) == f'{START}key "ipam": expected an object, found a string'


def test_ipam_and_its_type_are_found_in_other_capitals() -> None:
    config = {"Ipam": {"TYPE": "whereabouts", "Range": "10.0.0.0/24"}}
    assert len(load(config, network="net", files=NO_FILES).ranges) == 1


@pytest.mark.parametrize("name", [name for name in KEYS if name != "type"])
def test_wrong_type_is_an_error_that_names_key_type_and_value(name: str) -> None:
    kind = KEYS[name].kind
    wrong = WRONG.get(kind, {"x": 1})
    found = {TEXT: "a number: 5", FLAG: 'a string: "yes"', NUMBER: 'a string: "5"', TEXTS: 'a string: "one"'}
    expected = found.get(kind, "a list" if kind == OBJECT else "an object")
    if KEYS[name].secret:
        expected = "a number"
    message = f"expected {kind}, found {expected}"
    assert refusal({name: wrong}) == f'{START}key "ipam.{name}": {message}'
    flat_start = f"LoadIPAMConfig Flatfile ({FLAT_PATH}) - JSON Parsing Error: "
    assert refusal({}, flat(**{name: wrong})) == f'{flat_start}key "{name}": {message}'


@pytest.mark.parametrize(
    ("ipam", "message"),
    [
        ({"exclude": ["10.0.0.1", 7]}, 'key "ipam.exclude[1]": expected a string, found a number: 7'),
        ({"exclude": [None]}, 'key "ipam.exclude[0]": expected a string, found null'),
        ({"ipRanges": [{}, "x"]}, 'key "ipam.ipRanges[1]": expected an object, found a string: "x"'),
        (
            {"ipRanges": [{"range": True}]},
            'key "ipam.ipRanges[0].range": expected a string, found a boolean: true',
        ),
        (
            {"routes": [{"dst": "::/0", "mtu": 1.5}]},
            'key "ipam.routes[0].mtu": expected a whole number, found a number: 1.5',
        ),
        (
            {"routes": [{"mtu": True}]},
            'key "ipam.routes[0].mtu": expected a whole number, found a boolean: true',
        ),
        ({"dns": {"search": {}}}, 'key "ipam.dns.search": expected a list of strings, found an object'),
        (
            {"local": {"PATH": False}},
            'key "ipam.local.path": expected a string, found a boolean: false',
        ),
        (
            {"sleep_for_race": 1 << 63},
            'key "ipam.sleep_for_race": the number 9223372036854775808 does not fit in 64 bits',
        ),
        ({"log_file": "/a\0b"}, 'key "ipam.log_file": a NUL character in the text'),
    ],
)
def test_wrong_type_inside_lists_and_objects_is_named_by_its_path(ipam: dict[str, Any], message: str) -> None:
    assert refusal(ipam) == START + message


def test_whole_number_must_be_written_as_one() -> None:
    assert refusal({"leader_lease_duration": 1500.0}).endswith(
        "expected a whole number, found a number: 1500.0"
    )


@pytest.mark.parametrize(
    ("number", "fits"), [(-(1 << 63), True), (-(1 << 63) - 1, False), ((1 << 63) - 1, True)]
)
def test_whole_number_has_64_bits(number: int, fits: bool) -> None:
    if fits:
        assert loaded({"sleep_for_race": number}) == loaded({})
    else:
        assert f"the number {number} does not fit" in refusal({"sleep_for_race": number})


def test_long_values_are_cut_in_errors() -> None:
    for ipam in ({"exclude": "x" * 9999}, {"range": "x" * 9999}, {"datastore": "x" * 9999}, {"x" * 9999: 1}):
        try:
            (text,) = loaded(ipam).warnings
        except ConfigError as error:
            text = str(error)
        assert len(text) < 700


def test_unknown_keys_are_tolerated_and_told() -> None:
    ipam = {
        "optimistic_ipam": True,
        "PodName": "x",
        "range": "10.0.0.0/24",
        "ipRanges": [{"range": "fd00::/64", "note": 1}],
        "dns": {"servers": []},
    }
    assert loaded(ipam, flat(ipam={}, name="x")).warnings == (
        'unknown key "ipam.optimistic_ipam" (ignored)',
        'unknown key "ipam.PodName" (ignored)',
        'unknown key "ipam.ipRanges[0].note" (ignored)',
        'unknown key "ipam.dns.servers" (ignored)',
        'unknown key "ipam" (ignored)',
        'unknown key "name" (ignored)',
    )


# ---- inline over flat file ----


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_text_takes_the_flat_files_value(empty: str | None) -> None:
    assert loaded({"network_name": empty}, flat(network_name="blue")).network_name == "blue"


def test_zero_and_empty_list_take_the_flat_files_value() -> None:
    files = flat(leader_lease_duration=3000, exclude=["10.0.0.1"])
    config = loaded({"range": "10.0.0.0/24", "leader_lease_duration": 0, "exclude": []}, files)
    assert config.leader.lease_duration == 3000
    assert config.ranges[0].range.excludes == ("10.0.0.1",)


def test_inline_value_wins_and_lists_are_taken_whole() -> None:
    files = flat(range="10.0.0.0/24", exclude=["10.0.1.1", "10.0.1.2"], ipRanges=[{"range": "10.2.0.0/24"}])
    config = loaded({"range": "10.0.1.0/24", "exclude": ["10.0.1.3"]}, files)
    networks = [str(one.range.network) for one in config.ranges]
    assert networks == ["10.0.1.0/24", "10.2.0.0/24"]
    assert config.ranges[0].range.excludes == ("10.0.1.3",)
    both = loaded({"ipRanges": [{"range": "10.3.0.0/24"}]}, files)
    assert [str(one.range.network) for one in both.ranges] == ["10.0.0.0/24", "10.3.0.0/24"]


def test_elements_of_ip_ranges_are_not_merged() -> None:
    files = flat(ipRanges=[{"range": "10.2.0.0/24", "exclude": ["10.2.0.1"], "gateway": "10.2.0.1"}])
    (one,) = loaded({"ipRanges": [{"range": "10.2.0.0/24"}]}, files).ranges
    assert one.range.excludes == ()
    assert one.gateway is None


def test_objects_are_merged_key_by_key() -> None:
    files = flat(
        dns={"domain": "flat", "search": ["flat"], "options": ["flat"]},
        kubernetes={"kubeconfig": "/flat"},
        local={"path": "/flat.db"},
    )
    ipam = {"dns": {"domain": "", "search": ["inline"]}, "kubernetes": {"k8s_api_root": "x"}, "local": {}}
    config = loaded(ipam, files)
    assert config.dns == DNS((), "flat", ("inline",), ("flat",))
    assert (config.kubeconfig, config.local_path) == ("/flat", "/flat.db")


FLAGS = [name for name, key in KEYS.items() if key.kind == FLAG]


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("inline", [None, False, True])
@pytest.mark.parametrize("on_host", [None, False, True])
def test_flag_is_inline_if_it_is_there_else_the_flat_files(
    name: str, inline: bool | None, on_host: bool | None
) -> None:
    chosen = inline if inline is not None else on_host if on_host is not None else KEYS[name].default
    files = NO_FILES if on_host is None else flat(**{name: on_host})
    ipam = {"range": "10.0.0.0/24", "gateway": "10.0.0.9"}
    assert loaded({**ipam, name: inline}, files)[:-1] == loaded({**ipam, name: chosen})[:-1]


# ---- datastore ----

KUBECONFIG = {"kubernetes": {"kubeconfig": "/k"}}


@pytest.mark.parametrize(
    ("ipam", "datastore"),
    [
        ({}, "local"),
        ({"local": {"path": "/x"}}, "local"),
        ({"etcd_host": "h"}, "etcd"),
        (KUBECONFIG, "kubernetes"),
        ({"etcd_host": "h", **KUBECONFIG}, "etcd"),
        ({"datastore": "kubernetes", "etcd_host": "h", **KUBECONFIG}, "kubernetes"),
        ({"datastore": "local", "etcd_host": "h", **KUBECONFIG}, "local"),
        ({"datastore": "etcd", "etcd_host": "h", **KUBECONFIG}, "etcd"),
    ],
)
def test_datastore_is_the_one_named_else_the_one_set_up(ipam: dict[str, Any], datastore: str) -> None:
    config = loaded(ipam)
    assert config.datastore == datastore
    assert (config.etcd is not None) == (datastore == "etcd")


def test_datastore_of_the_installers_flat_file_holds() -> None:
    files = flat(
        datastore="kubernetes",
        configuration_path="/etc/cni/net.d/whereabouts.d",
        kubernetes={"kubeconfig": "/etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig"},
        reconciler_cron_expression="30 4 * * *",
    )
    config = loaded({"range": "10.0.0.0/24"}, files)
    assert config.datastore == "kubernetes"
    assert config.configuration_path == "/etc/cni/net.d/whereabouts.d"
    assert (config.warnings, files.asked_for) == ((), [])


STORAGE = "have not configured the storage engine (looks like you're using an invalid `{}` parameter"


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize(
    ("datastore", "key", "start"),
    [
        ("kubernetes", "kubernetes.kubeconfig", "you"),
        ("etcd", "etcd_host", "You"),
        ("ETCD", "datastore", "You"),
    ],
)
def test_datastore_that_cannot_be_reached_is_refused(
    datastore: str, key: str, start: str, lenient: bool
) -> None:
    text = refusal({"datastore": datastore}, lenient=lenient)
    assert text.startswith(f"{start} {STORAGE.format(key)} in your config): ")
    assert ('"ETCD" is none of local, etcd, kubernetes' in text) == (datastore == "ETCD")


def test_etcd_is_read_whole_and_its_password_stays_secret() -> None:
    ipam = {key: f"the {key}" for key in KEYS if key.startswith("etcd_")} | {"etcd_prefix": "/p"}
    config = loaded(ipam)
    assert config.etcd == EtcdConfig(
        "the etcd_host",
        "the etcd_username",
        Secret("the etcd_password"),
        "the etcd_key_file",
        "the etcd_cert_file",
        "the etcd_ca_cert_file",
        "/p/",
    )
    assert "the etcd_password" not in repr(config)
    assert "the etcd_password" not in f"{config} {config.etcd.password}"
    assert config.etcd.password.reveal() == "the etcd_password"
    default = loaded({"etcd_host": "h"}).etcd
    assert default == EtcdConfig("h", "", Secret(""), "", "", "", "/whereabouts/v1/")
    assert not default.password
    assert hash(default) != hash(config.etcd)


def test_half_of_a_client_certificate_is_warned_about() -> None:
    (warning,) = loaded({"etcd_host": "h", "etcd_key_file": "/k"}).warnings
    assert "etcd_cert_file" in warning


@pytest.mark.parametrize("name", ["blue", "a.b-c", "7", "x" * 200])
def test_network_names_that_kubernetes_can_hold(name: str) -> None:
    assert loaded({"network_name": name, **KUBECONFIG}).network_name == name


@pytest.mark.parametrize("name", ["Blue", "a_b", "-a", ".a", "a..b", "a/b", "a b", "\u00e9"])
def test_network_names_that_kubernetes_cannot_hold(name: str) -> None:
    assert f"network_name {json.dumps(name)}" in refusal({"network_name": name, **KUBECONFIG})
    assert loaded({"network_name": name, **KUBECONFIG}, lenient=True).network_name == name
    assert loaded({"network_name": name}).network_name == name


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 201])
def test_network_names_that_no_datastore_can_hold(name: str) -> None:
    assert refusal({"network_name": name}).startswith("network_name ")


# ---- the rest of the host ----


def test_paths_that_the_network_configuration_sets_are_asked_for_and_no_others() -> None:
    ipam: dict[str, Any] = {
        "log_file": "/l",
        "configuration_path": "/c",
        "kubernetes": {"kubeconfig": "/k"},
        "local": {"Path": "/p"},
        "etcd_key_file": "/ek",
        "etcd_cert_file": "/ec",
        "ETCD_CA_CERT_FILE": "/ca",
        "etcd_host": "h",
    }

    def asked_for(inline: dict[str, Any], files: MemoryFiles) -> list[tuple[str, str]]:
        loaded(inline, files)
        return files.asked_for

    assert asked_for(ipam, MemoryFiles()) == [
        ("log_file", "/l"),
        ("configuration_path", "/c"),
        ("kubernetes.kubeconfig", "/k"),
        ("local.path", "/p"),
        ("etcd_key_file", "/ek"),
        ("etcd_cert_file", "/ec"),
        ("etcd_ca_cert_file", "/ca"),
    ]
    assert asked_for({}, flat(**ipam)) == []
    assert asked_for({"local": {}, "log_file": ""}, flat(**ipam)) == []
    assert asked_for({"log_file": "/l"}, flat(log_file="/l")) == [("log_file", "/l")]


@pytest.mark.parametrize("lenient", [False, True])
def test_path_that_is_not_admitted_ends_the_loading_before_anything_is_read(lenient: bool) -> None:
    files = flat(log_file="/l")
    files.refused_key = "log_file"
    assert loaded({}, files).log_file == "/l"
    files.read_paths.clear()
    assert refusal({"log_file": "/l"}, files, lenient=lenient) == "log_file /l is refused"
    assert files.read_paths == []


def test_log_levels_are_those_of_the_log() -> None:
    assert LOG_LEVELS == LEVELS
    assert loaded({}).log_level in LEVELS


def test_unknown_log_level_is_warned_about_and_not_used() -> None:
    config = loaded({"log_level": "trace"})
    assert config.log_level == "debug"
    assert config.warnings == (
        'log_level "trace" is none of panic, error, verbose, debug: debug is used instead',
    )


@pytest.mark.parametrize("times", [(1000, 1000, 500), (1500, 600, 500), (1500, 1000, -1), (-5, -6, -7)])
def test_leader_times_that_cannot_work_are_refused(times: tuple[int, int, int]) -> None:
    keys = ("leader_lease_duration", "leader_renew_deadline", "leader_retry_period")
    ipam = dict(zip(keys, times, strict=True))
    for key, value in ipam.items():
        assert f"{key} {value}" in refusal(ipam)
    assert loaded(ipam, lenient=True).leader == LeaderTimes(*times)


# ---- the pod ----


def test_pod_is_named_by_its_arguments_else_by_its_container() -> None:
    args = read_args("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=u-1")
    config = loaded({}, args=args)
    assert (config.pod_ref, config.pod_uid) == ("ns/web-0", "u-1")
    assert loaded({}, args=CniArgs(pod_name="web-0")).pod_ref == "/web-0"
    assert loaded({}, args=CniArgs(pod_namespace="ns")).pod_ref == "cafe"


# ---- DEL and GC ----


@pytest.mark.parametrize("name", [name for name in KEYS if name != "type"])
def test_wrong_type_is_passed_over_for_del_unless_it_hides_the_records(name: str) -> None:
    wrong = WRONG.get(KEYS[name].kind, {"x": 1})
    for files, ipam in ((NO_FILES, {name: wrong}), (flat(**{name: wrong}), {})):
        if name in WHICH_RECORDS:
            refusal(ipam, files, lenient=True)
        else:
            config = loaded(ipam, files, lenient=True)
            (warning,) = config.warnings
            assert f'{name}": expected' in warning
            assert warning.endswith(" (ignored)")
            assert config[:-1] == loaded({})[:-1]


def test_wrong_type_inside_an_object_that_says_where_the_records_are_is_an_error_for_del() -> None:
    refusal({"local": {"path": 5}}, lenient=True)
    refusal({"kubernetes": {"kubeconfig": 5}}, lenient=True)


MISTAKES: dict[str, Any] = {
    "range": "10.0.0.0/24",
    "range_start": "x",
    "range_end": "10.0.0.x",
    "exclude": ["10.0.0.0/33", 5, "10.0.0.7"],
    "gateway": "x",
    "ipRanges": [
        {"range": "bad"},
        {"range": "10.1.0.0/31"},
        {"range": "10.2.0.0/24", "range_start": "10.2.0.05", "range_end": "x", "gateway": "fd00::1"},
        {"range": "10.0.0.9/24"},
        17,
    ],
    "addresses": [{"address": "x"}, {"address": "10.9.0.1/24", "gateway": "fd00::1"}],
    "routes": [{"dst": "x"}, {"dst": "10.0.0.0/8", "gw": "x"}],
    "dns": 5,
    "leader_retry_period": "x",
    "node_slice_size": "big",
}


def test_del_passes_over_every_mistake_that_fails_an_add() -> None:
    args = CniArgs(ip=("x", "10.9.0.5/24"), gateway=("y", "10.9.0.254"))
    config = loaded(MISTAKES, lenient=True, cni_version="0.2.0", args=args)
    networks = [str(one.range.network) for one in config.ranges]
    assert networks == ["10.0.0.0/24", "10.1.0.0/31", "10.2.0.0/24", "10.0.0.0/24"]
    assert [str(one.address) for one in config.static] == ["10.9.0.1/24", "10.9.0.5/24"]
    assert len(config.routes) == 1
    assert config.ranges[0].range.contains(0x0A000005)
    assert not config.ranges[0].range.contains(0x0A000007)
    for word in (
        "range_start",
        "range_end",
        "10.0.0.0/33",
        "exclude[1]",
        "gateway",
        "bad",
        "10.2.0.05",
        "dns",
    ):
        assert any(word in warning for warning in config.warnings), word


@pytest.mark.parametrize("name", sorted(MISTAKES.keys() - {"range"}))
def test_each_of_these_mistakes_alone_fails_an_add(name: str) -> None:
    refusal({"range": "10.0.0.0/24", name: MISTAKES[name]})


# ---- any input ----

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(
        ["10.0.0.0/24", "fd00::/64", "10.0.0.5-10.0.0.9/24", "10.0.0.1", "::1", "local", "etcd"]
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from([*KEYS, "dst", "gw", "address", "path", "kubeconfig", "nameservers", "scope"])
            | st.text(max_size=5),
            children,
            max_size=4,
        )
    ),
    max_leaves=12,
)
KEYED = st.dictionaries(st.sampled_from(list(KEYS)).map(str) | st.text(max_size=6), VALUES, max_size=6)
WORDS = st.sampled_from([*EXAMPLES.values()])


def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """A configuration with good values, some of them replaced."""
    good = draw(st.lists(st.sampled_from(list(KEYS)), max_size=8))
    ipam = {name: EXAMPLES[name] for name in good} | {
        name: draw(WORDS | VALUES) for name in draw(st.lists(st.sampled_from(list(KEYS)), max_size=3))
    }
    return {**ipam, "type": "whereabouts"}


@settings(max_examples=3 * settings().max_examples)
@given(
    KEYED | st.composite(damaged)(), KEYED | VALUES, st.booleans(), st.sampled_from(["", "0.2.0", "1.0.0"])
)
def test_any_json_gives_a_config_or_a_config_error(
    ipam: dict[str, Any], on_host: Any, lenient: bool, cni_version: str
) -> None:
    config = decode_object(json.dumps({"ipam": {"type": "whereabouts", **ipam}}).encode())
    files = MemoryFiles({FLAT_PATH: json.dumps(on_host).encode()})
    try:
        made = load(config, network="n", files=files, lenient=lenient, cni_version=cni_version)
    except ConfigError:
        return
    assert made.log_level in LEVELS
    assert made.datastore in ("local", "etcd", "kubernetes")
    assert all(isinstance(warning, str) for warning in made.warnings)
    for one in made.ranges:
        assert one.gateway is None or one.gateway.version == one.range.version


@given(st.data())
def test_secret_never_shows_in_whatever_is_said(data: st.DataObject) -> None:
    secret = "hunter2-hunter2"
    ipam = {
        **data.draw(st.composite(damaged)()),
        "etcd_password": data.draw(st.sampled_from([secret, 271828])),
    }
    ipam.setdefault("etcd_host", "h")
    if data.draw(st.booleans()):
        ipam["ETCD_PASSWORD"] = secret
    files = flat(**{"etcd_password": secret, data.draw(st.sampled_from(list(KEYS))): data.draw(VALUES)})
    try:
        said = repr(loaded(ipam, files, lenient=data.draw(st.booleans())))
    except ConfigError as error:
        said = f"{error}"
    assert secret not in said
    assert "271828" not in said
