"""Results and errors, byte for byte as the CNI library prints them."""

import json
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whereabouts.cni.errors import CniError
from whereabouts.cni.results import DNS, IPConfig, Result, Route, print_error, print_result
from whereabouts.cni.versions import SUPPORTED

GOLDEN = Path(__file__).parent / "golden" / "cni"

FORMS = {
    "": "0.1",
    "0.1.0": "0.1",
    "0.2.0": "0.1",
    "0.3.0": "0.3",
    "0.3.1": "0.3",
    "0.4.0": "0.3",
    "1.0.0": "1.0",
    "1.1.0": "1.0",
}

RESULTS = {
    "v4": Result(
        ips=(IPConfig(ip_interface("192.168.1.1/24"), ip_address("192.168.1.254")),),
        routes=(Route(ip_interface("0.0.0.0/0")),),
    ),
    "v6": Result(ips=(IPConfig(ip_interface("2001:0DB8:0:0:1:0:0:A/116")),)),
    "dual": Result(
        ips=(
            IPConfig(ip_interface("fd00::5/64"), ip_address("fd00::1")),
            IPConfig(ip_interface("10.0.0.5/8"), ip_address("10.0.0.1")),
            IPConfig(ip_interface("172.16.0.7/12")),
        ),
        routes=(
            Route(ip_interface("::/0"), ip_address("fd00::1")),
            Route(ip_interface("10.1.2.3/16"), ip_address("10.0.0.9"), 1400, 1360, 7, 0, 0),
            Route(ip_interface("fd01::/48"), table=5000, scope=253),
        ),
        dns=DNS(("10.0.0.2", "fd00::2"), "a.example", ("b.example",), ("ndots:5",)),
    ),
    "none": Result(),
    "foreign-route": Result(
        ips=(IPConfig(ip_interface("192.168.2.225/28")),), routes=(Route(ip_interface("fd01::/48")),)
    ),
}


@pytest.mark.parametrize("case", RESULTS)
@pytest.mark.parametrize("version", FORMS)
def test_result_has_the_form_of_its_version(case: str, version: str) -> None:
    if case == "none" and FORMS[version] == "0.1":
        with pytest.raises(CniError) as caught:
            print_result(RESULTS[case], version)
        assert (caught.value.code, caught.value.msg) == (999, "cannot convert: no valid IP addresses")
        return
    golden = (GOLDEN / f"{case}.{FORMS[version]}.json").read_text()
    printed = print_result(RESULTS[case], version)
    assert printed.decode() == golden.replace("VERSION", version or "0.1.0")


def test_every_supported_version_has_a_form() -> None:
    assert set(FORMS) == {"", *SUPPORTED}


def test_result_for_unknown_version_is_refused() -> None:
    with pytest.raises(CniError, match="incompatible CNI versions") as caught:
        print_result(RESULTS["v4"], "0.9.9")
    assert caught.value.code == 1


@pytest.mark.parametrize("version", FORMS)
def test_characters_that_go_escapes_are_escaped(version: str) -> None:
    dns = DNS(domain="<a>&\u2028\u2029\x01\u00e4")
    printed = print_result(RESULTS["v4"]._replace(dns=dns), version)
    expected = rb'"domain": "\u003ca\u003e\u0026\u2028\u2029\u0001' + "\u00e4".encode() + b'"'
    assert expected in printed
    assert json.loads(printed)["dns"]["domain"] == dns.domain


def test_error_carries_version_code_and_message() -> None:
    assert print_error(CniError(11, "try <again>"), "0.4.0").decode() == (
        '{\n    "cniVersion": "0.4.0",\n    "code": 11,\n    "msg": "try \\u003cagain\\u003e"\n}'
    )


def test_error_carries_details_only_when_there_are_some() -> None:
    printed = print_error(CniError(999, "no", "because"), "")
    assert list(json.loads(printed).items()) == [
        ("cniVersion", "0.1.0"),
        ("code", 999),
        ("msg", "no"),
        ("details", "because"),
    ]


def test_error_reads_as_one_sentence() -> None:
    assert str(CniError(7, "no", "because")) == "no; because"
    assert str(CniError(7, "no")) == "no"


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)), st.sampled_from(SUPPORTED))
def test_error_is_json_in_utf_8_whatever_it_quotes(msg: str, details: str, version: str) -> None:
    printed = json.loads(print_error(CniError(999, msg, details), version).decode())
    assert printed["cniVersion"] == version
    if msg.isascii():
        assert printed["msg"] == msg


def test_error_with_stray_byte_of_the_environment_can_be_printed() -> None:
    assert json.loads(print_error(CniError(4, "no \udcff"), "1.0.0"))["msg"] == "no ?"
