"""CNI_ARGS: what is taken from it, and what is said about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.cni.args import CniArgs, read_args
from whereabouts.cni.errors import CniError


def refusal(text: str) -> str:
    """The reason, without the words that every one of these errors starts with."""
    with pytest.raises(CniError) as caught:
        read_args(text)
    assert (caught.value.code, caught.value.details) == (999, "")
    start = "LoadArgs - CNI Args Parsing Error: ARGS: "
    assert caught.value.msg.startswith(start)
    return caught.value.msg.removeprefix(start)


def test_empty_text_holds_no_arguments() -> None:
    assert read_args("") == CniArgs("", "", "", "", (), (), False)


def test_what_kubernetes_runtimes_send_is_read() -> None:
    text = (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0;"
        "K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=6d2f;FOO=bar"
    )
    assert read_args(text) == CniArgs("web-0", "default", "6d2f", "abc", ignore_unknown=True)


def test_pod_uid_is_a_known_key() -> None:
    assert read_args("K8S_POD_UID=6d2f").pod_uid == "6d2f"


def test_addresses_and_gateways_are_split_but_not_parsed() -> None:
    args = read_args("IP=10.0.0.1/24, fd00::1/64 ,x;GATEWAY= 10.0.0.254,,")
    assert args.ip == ("10.0.0.1/24", "fd00::1/64", "x")
    assert args.gateway == ("10.0.0.254", "", "")


def test_empty_address_list_is_no_address() -> None:
    assert read_args("IP=;GATEWAY=") == CniArgs()


@pytest.mark.parametrize("element", ["", "a", "a=b=c", "=="])
def test_element_without_exactly_one_equals_sign_is_refused(element: str) -> None:
    assert refusal(f"IgnoreUnknown=1;{element}") == f'invalid pair "{element}"'


def test_trailing_semicolon_is_refused() -> None:
    assert refusal("K8S_POD_NAME=p;") == 'invalid pair ""'


@pytest.mark.parametrize("text", ["A=b;K8S_POD_NAME=p;k8s_pod_name=q", "A=b;k8s_pod_name=q;IgnoreUnknown=0"])
def test_unknown_keys_are_reported_together(text: str) -> None:
    assert refusal(text) == 'unknown args ["A=b" "k8s_pod_name=q"]'


@pytest.mark.parametrize("value", ["1", "true", "True", "TRUE"])
def test_unknown_keys_are_ignored_on_request_wherever_it_stands(value: str) -> None:
    assert read_args(f"A=b;IgnoreUnknown={value};C=d").ignore_unknown


@pytest.mark.parametrize("value", ["0", "false", "False"])
def test_ignore_unknown_can_be_switched_off(value: str) -> None:
    assert not read_args(f"IgnoreUnknown={value}").ignore_unknown


@pytest.mark.parametrize("value", ["", "yes", "Maybe", "10"])
def test_other_booleans_are_refused(value: str) -> None:
    assert refusal(f"IgnoreUnknown={value}") == (
        f'error parsing value of pair "IgnoreUnknown={value}": '
        f"boolean unmarshal error: invalid input {value.lower()}"
    )


def test_last_of_two_equal_keys_counts() -> None:
    assert read_args("K8S_POD_NAME=p;K8S_POD_NAME=q").pod_name == "q"


@pytest.mark.parametrize("key", ["K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [("a b", "a b"), ("a\n", r"a\n"), ("a\0", r"a\u0000"), ("\u00a0", r"\u00a0"), ("\udcff", r"\udcff")],
)
def test_pod_text_that_cannot_be_recorded_is_refused(key: str, value: str, shown: str) -> None:
    assert refusal(f"{key}={value}") == f'{key} contains control characters or whitespace: "{shown}"'


@pytest.mark.parametrize("key", ["K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID"])
def test_pod_text_that_would_make_a_reference_ambiguous_is_refused(key: str) -> None:
    assert refusal(f"{key}=a/b") == f'{key} contains /, which separates namespace and name: "a/b"'


def test_absurdly_long_pod_name_is_refused() -> None:
    assert read_args("K8S_POD_NAME=" + "p" * 253)
    assert refusal("K8S_POD_NAME=" + "p" * 254) == "K8S_POD_NAME has 254 characters, at most 253 are allowed"


def test_long_arguments_are_not_echoed_whole() -> None:
    assert len(refusal("x" * 100_000)) < 300


PARTS = st.sampled_from(["K8S_POD_NAME", "IP", "GATEWAY", "IgnoreUnknown", "A", "=", ";", "1", ",", " "])


@given(st.text(st.characters(codec=None)) | st.lists(PARTS).map("".join))
def test_any_text_is_arguments_or_an_error(text: str) -> None:
    try:
        args = read_args(text)
    except CniError:
        return
    for value in (args.pod_name, args.pod_namespace, args.pod_uid):
        value.encode()
        assert not set(value) & set("\0\n /")
