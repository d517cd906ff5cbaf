"""Which calls are understood, and what is said about the others."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.cni.errors import CniError
from whereabouts.cni.request import Request, read_request, version_of
from whereabouts.cni.results import print_error
from whereabouts.cni.versions import SUPPORTED, about, at_least, print_version

ATTACHMENT = {
    "CNI_CONTAINERID": "c0ffee",
    "CNI_NETNS": "/run/netns/blue",
    "CNI_IFNAME": "net1",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=p",
    "CNI_PATH": "/opt/cni/bin",
}


def environment(command: str, **changes: str | None) -> dict[str, str]:
    """A complete environment with some variables changed, or taken out (None)."""
    variables: dict[str, str | None] = {"CNI_COMMAND": command, **ATTACHMENT, **changes}
    return {name: value for name, value in variables.items() if value is not None}


def network(**changes: object) -> bytes:
    return json.dumps({"cniVersion": "1.1.0", "name": "blue", "type": "macvlan", **changes}).encode()


def refusal(variables: Mapping[str, str], stdin: bytes) -> tuple[int, str, str]:
    with pytest.raises(CniError) as caught:
        read_request(variables, stdin)
    return caught.value.code, caught.value.msg, caught.value.details


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_request_holds_every_parameter(command: str) -> None:
    stdin = network(ipam={"type": "whereabouts"})
    assert read_request(environment(command), stdin) == Request(
        command=command,
        container_id="c0ffee",
        netns="/run/netns/blue",
        ifname="net1",
        args="IgnoreUnknown=1;K8S_POD_NAME=p",
        netns_override=False,
        network="blue",
        cni_version="1.1.0",
        config={"cniVersion": "1.1.0", "name": "blue", "type": "macvlan", "ipam": {"type": "whereabouts"}},
        stdin=stdin,
    )


@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_network_wide_commands_need_no_attachment(command: str) -> None:
    request = read_request({"CNI_COMMAND": command, "CNI_PATH": "/opt/cni/bin"}, network())
    assert (request.command, request.container_id, request.ifname) == (command, "", "")


def test_version_needs_nothing_else() -> None:
    request = read_request({"CNI_COMMAND": "VERSION"}, b"\xff not JSON")
    assert (request.command, request.config, request.stdin) == ("VERSION", {}, b"")


def test_variables_that_a_command_does_not_need_are_not_checked() -> None:
    variables = environment("GC", CNI_IFNAME="a/b", CNI_CONTAINERID="-")
    assert read_request(variables, network()).command == "GC"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("TRUE", True), ("true", True), ("True", True), ("1", True), ("", False), ("0", False), ("yes", False)],
)
def test_netns_override(value: str, expected: bool) -> None:
    request = read_request(environment("ADD", CNI_NETNS_OVERRIDE=value), network())
    assert request.netns_override is expected


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, "CNI_COMMAND"),
        ({**ATTACHMENT, "CNI_COMMAND": ""}, "CNI_COMMAND"),
        ({"CNI_COMMAND": "ADD"}, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ({"CNI_COMMAND": "CHECK"}, "CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH"),
        ({"CNI_COMMAND": "DEL"}, "CNI_CONTAINERID,CNI_IFNAME,CNI_PATH"),
        ({"CNI_COMMAND": "GC"}, "CNI_PATH"),
        ({"CNI_COMMAND": "STATUS"}, "CNI_PATH"),
        (environment("ADD", CNI_CONTAINERID="", CNI_NETNS=None), "CNI_CONTAINERID,CNI_NETNS"),
    ],
)
def test_missing_variables_are_reported_together(variables: dict[str, str], missing: str) -> None:
    assert refusal(variables, network()) == (4, f"required env variables [{missing}] missing", "")


@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
@pytest.mark.parametrize(
    "container_id", ["-a", ".", "_x", "a b", "a/b", "a\n", "\n", "a;b", "\u00e4", "a\u0660", "a\udcff", "a\0"]
)
def test_container_id_with_other_characters_is_refused(command: str, container_id: str) -> None:
    variables = environment(command, CNI_CONTAINERID=container_id)
    assert refusal(variables, network()) == (4, "invalid characters in containerID", container_id)


def test_absurdly_long_container_id_is_refused() -> None:
    assert read_request(environment("ADD", CNI_CONTAINERID="a" * 255), network())
    assert refusal(environment("ADD", CNI_CONTAINERID="a" * 256), network()) == (
        4,
        "containerID is too long",
        "CNI_CONTAINERID has 256 characters, at most 255 are allowed",
    )


TOO_LONG = (4, "interface name is too long", "interface name should be less than 16 characters")
DOTS = (4, "interface name is . or ..", "")
SEPARATORS = (4, "interface name contains / or : or whitespace characters", "")
UNPRINTABLE = (
    4,
    "interface name contains unprintable characters",
    "CNI_IFNAME must be printable text in UTF-8",
)


@pytest.mark.parametrize(
    ("ifname", "expected"),
    [
        ("x" * 16, TOO_LONG),
        ("\u00e4" * 8, TOO_LONG),
        ("\udcff" * 16, TOO_LONG),
        (".", DOTS),
        ("..", DOTS),
        ("a/b", SEPARATORS),
        ("a:b", SEPARATORS),
        ("a b", SEPARATORS),
        ("eth0\n", SEPARATORS),
        ("a\u00a0b", SEPARATORS),
        ("a\0b", UNPRINTABLE),
        ("a\x1b[1m", UNPRINTABLE),
        ("a\udcffb", UNPRINTABLE),
    ],
)
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL"])
def test_impossible_interface_name_is_refused(
    command: str, ifname: str, expected: tuple[int, str, str]
) -> None:
    assert refusal(environment(command, CNI_IFNAME=ifname), network()) == expected


@pytest.mark.parametrize("ifname", ["x" * 15, "\u00e4" * 7, "...", "eth0.100", "a@b"])
def test_possible_interface_name_is_accepted(ifname: str) -> None:
    assert read_request(environment("ADD", CNI_IFNAME=ifname), network()).ifname == ifname


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [
        (b"", "there is no input"),
        (b" \n", "there is no input"),
        (b"{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b'{"name": "blue"} x', "Extra data: line 1 column 18 (char 17)"),
        (b"\xef\xbb\xbf{}", "the text starts with a byte order mark, which JSON does not have"),
        (b'{"name": "\xff"}', "byte 10 is not UTF-8"),
        ('{"name": "blue"}'.encode("utf-16"), "byte 0 is not UTF-8"),
        (b'{"name": NaN}', "NaN is not a number that JSON has"),
        (b'{"name": -Infinity}', "-Infinity is not a number that JSON has"),
        (b'{"mtu": 1e999}', "a number is too large"),
        (b'{"mtu": ' + b"9" * 5000 + b"}", "a number has 5000 digits, at most 300 are read"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "more than 100 levels of nesting"),
        (b"[" * 1_000_000, "more than 100 levels of nesting"),
        (b'{"a":' * 100_000, "more than 100 levels of nesting"),
        (b'{"name": "\\ud800"}', "the escape \\ud800 is half of a character"),
        (b'{"\\uDFFF": 1}', "the escape \\udfff is half of a character"),
        (b"[]", "expected an object, found a list"),
        (b"null", "expected an object, found null"),
        (b'"blue"', "expected an object, found a string"),
        (b"true", "expected an object, found a boolean"),
        (b"1", "expected an object, found a number"),
        (b'{"name": 1}', 'key "name": expected a string, found a number'),
        (b'{"name": {}}', 'key "name": expected a string, found an object'),
    ],
)
def test_input_that_is_no_configuration_is_refused(stdin: bytes, reason: str) -> None:
    assert refusal(environment("ADD"), stdin) == (6, f"error unmarshall network config: {reason}", "")


def test_nesting_up_to_the_limit_is_read() -> None:
    stdin = b'{"name": "blue", "text": "[[[[", "a": ' + b"[" * 99 + b"]" * 99 + b"}"
    assert read_request(environment("ADD"), stdin).network == "blue"


def test_escaped_characters_outside_the_base_plane_are_read() -> None:
    stdin = b'{"name": "blue", "x": "\\ud83d\\ude00"}'
    assert read_request(environment("ADD"), stdin).config["x"] == "\U0001f600"


@pytest.mark.parametrize("stdin", [b"{}", b'{"name": ""}', b'{"name": null}'])
def test_configuration_without_name_is_refused(stdin: bytes) -> None:
    assert refusal(environment("ADD"), stdin) == (7, "missing network name", "")


@pytest.mark.parametrize("name", ["-", "a b", "a\n", "a/b", "\u00fc", "a\0"])
def test_network_name_with_other_characters_is_refused(name: str) -> None:
    expected = (7, "invalid characters found in network name", name)
    assert refusal(environment("ADD"), network(name=name)) == expected


def test_absurdly_long_network_name_is_refused() -> None:
    code, msg, details = refusal(environment("DEL"), network(name="a" * 100_000))
    assert (code, msg) == (7, "network name is too long")
    assert details == 'the value of "name" has 100000 characters, at most 255 are allowed'


def test_last_of_two_equal_keys_counts() -> None:
    stdin = b'{"name": "red", "name": "blue", "cniVersion": "9", "cniVersion": "0.4.0"}'
    request = read_request(environment("ADD"), stdin)
    assert (request.network, request.cni_version) == ("blue", "0.4.0")


def test_key_is_found_with_other_capitals_unless_there_is_an_exact_one() -> None:
    assert read_request(environment("ADD"), b'{"NAME": "red", "CNIversion": "0.4.0"}').network == "red"
    assert read_request(environment("ADD"), b'{"name": "blue", "NAME": "red"}').network == "blue"


def test_unknown_command_is_reported_after_the_configuration() -> None:
    assert refusal({"CNI_COMMAND": "add"}, b"{")[0] == 6
    assert refusal({"CNI_COMMAND": "add"}, network(cniVersion="9")) == (4, "unknown CNI_COMMAND: add", "")


@pytest.mark.parametrize("version", ["9.9.9", "0.3.2", "1.1", "v1.0.0", "1.1.0 "])
@pytest.mark.parametrize("command", ["ADD", "CHECK", "DEL", "GC", "STATUS"])
def test_unsupported_version_is_refused(command: str, version: str) -> None:
    assert refusal(environment(command), network(cniVersion=version)) == (
        1,
        "incompatible CNI versions",
        f'config is "{version}", plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]',
    )


def test_version_of_wrong_type_is_refused() -> None:
    expected = 'decoding version from network config: key "cniVersion": expected a string, found a number'
    assert refusal(environment("ADD"), network(cniVersion=1)) == (6, expected, "")


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize(
    ("command", "first"),
    [("ADD", "0.1.0"), ("DEL", "0.1.0"), ("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")],
)
def test_command_is_allowed_from_the_version_that_brought_it(command: str, first: str, version: str) -> None:
    if SUPPORTED.index(version) >= SUPPORTED.index(first):
        assert read_request(environment(command), network(cniVersion=version)).cni_version == version
    else:
        expected = (1, f"config version does not allow {command}", "")
        assert refusal(environment(command), network(cniVersion=version)) == expected


@pytest.mark.parametrize("stdin", [b'{"name": "blue"}', network(cniVersion=""), network(cniVersion=None)])
def test_missing_version_is_the_oldest(stdin: bytes) -> None:
    assert read_request(environment("ADD"), stdin).cni_version == "0.1.0"


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (network(cniVersion="0.4.0", name=""), "0.4.0"),
        (b"{}", "0.1.0"),
        (network(cniVersion="9.9.9"), "1.1.0"),
        (network(cniVersion=[]), "1.1.0"),
        (b"", "1.1.0"),
        (b"[" * 100_000, "1.1.0"),
    ],
)
def test_version_of_an_answer_is_known_for_any_input(stdin: bytes, expected: str) -> None:
    assert version_of(stdin) == expected


def test_long_values_are_not_echoed_whole() -> None:
    for variables, stdin in (
        (environment("x" * 100_000), network()),
        (environment("ADD"), network(cniVersion="x" * 100_000)),
        (environment("ADD", CNI_CONTAINERID="/" * 100_000), network()),
    ):
        assert sum(map(len, refusal(variables, stdin)[1:])) < 600


def test_versions_are_ordered_by_age() -> None:
    assert at_least("1.1.0", "0.4.0")
    assert at_least("0.4.0", "0.4.0")
    assert not at_least("0.3.1", "0.4.0")
    assert not at_least("", "0.2.0")


def test_answer_to_version_is_one_line() -> None:
    assert print_version() == (
        b'{"cniVersion":"1.1.0","supportedVersions":'
        b'["0.1.0","0.2.0","0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]}\n'
    )


def test_about_is_two_lines() -> None:
    assert about("0.1.0", "linux", "amd64") == (
        "whereabouts 0.1.0 linux/amd64\n"
        "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    )


VARIABLES = ("CNI_COMMAND", *ATTACHMENT, "CNI_NETNS_OVERRIDE")
COMMANDS = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "add"])
TEXTS = st.text(st.characters(codec=None), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=4),
    max_leaves=10,
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["blue", "a b"]) | JSON,
        "cniVersion": st.sampled_from(["", *SUPPORTED]) | JSON,
        "extra": JSON,
    },
)


@given(
    st.dictionaries(st.sampled_from(VARIABLES), TEXTS) | COMMANDS.map(environment),
    st.binary() | CONFIGS.map(lambda config: json.dumps(config).encode()),
)
def test_any_call_is_a_request_or_a_printable_error(variables: dict[str, str], stdin: bytes) -> None:
    try:
        request = read_request(variables, stdin)
    except CniError as error:
        answer = json.loads(print_error(error, version_of(stdin)).decode())
        assert answer["code"] in (1, 4, 6, 7)
        assert answer["msg"]
    else:
        assert request.cni_version in SUPPORTED
        assert request.command == variables["CNI_COMMAND"]
        json.dumps(request.config, ensure_ascii=False, allow_nan=False).encode()
