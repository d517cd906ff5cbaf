"""The kubeconfig that the plugin is given."""

from base64 import b64decode
from pathlib import Path

import pytest

from tests.installations import CERTIFICATE, ServiceAccount
from whereabouts.install.credentials import Credentials, read_credentials
from whereabouts.install.errors import CredentialsError, InstallError
from whereabouts.install.kubeconfig import api_server, kubeconfig_text

AUTHORITY = (CERTIFICATE.format("A" * 64 + "\n" + "B" * 64) * 40).encode()

EXPECTED = """\
# Written by whereabouts install, and again whenever the service account's token changes.
apiVersion: v1
kind: Config
clusters:
- name: local
  cluster:
    server: "https://10.96.0.1:443"
    certificate-authority-data: LS0t
users:
- name: whereabouts
  user:
    token: "t.o-k_en"
contexts:
- name: whereabouts-context
  context:
    cluster: local
    user: whereabouts
    namespace: "kube-system"
current-context: whereabouts-context
"""


def test_the_text_is_that_of_the_go_plugins_installer() -> None:
    assert (
        kubeconfig_text("https://10.96.0.1:443", "kube-system", Credentials("t.o-k_en", b"---")) == EXPECTED
    )


def test_the_authority_is_one_line_of_base64_of_every_byte() -> None:
    text = kubeconfig_text("https://10.96.0.1:443", "kube-system", Credentials("token", AUTHORITY))
    lines = [line for line in text.splitlines() if "certificate-authority-data: " in line]
    assert [b64decode(line.split()[1], validate=True) for line in lines] == [AUTHORITY]
    assert len(text.splitlines()) == len(EXPECTED.splitlines())


def test_without_an_authority_tls_is_not_checked_and_http_has_none() -> None:
    https = kubeconfig_text("https://10.96.0.1:443", "kube-system", Credentials("token", None))
    assert "\n    insecure-skip-tls-verify: true\n" in https
    assert "certificate-authority" not in https
    assert "insecure" not in kubeconfig_text("http://10.96.0.1:80", "kube-system", Credentials("token", None))


def test_a_namespace_that_looks_like_a_number_or_null_stays_text() -> None:
    for namespace in ("1234", "null", "on"):
        text = kubeconfig_text("https://h:1", namespace, Credentials("token", None))
        assert f'\n    namespace: "{namespace}"\n' in text


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("10.96.0.1", "https://10.96.0.1:6443"),
        ("fd00::1", "https://[fd00::1]:6443"),
        ("[fd00::1]", "https://[fd00::1]:6443"),
        ("::ffff:10.0.0.1", "https://[::ffff:10.0.0.1]:6443"),
        ("api.example", "https://api.example:6443"),
    ],
)
def test_an_ipv6_server_stands_in_brackets(host: str, server: str) -> None:
    assert api_server("https", host, "6443") == server


@pytest.mark.parametrize(
    ("protocol", "host", "port", "message"),
    [
        ("https", "", "443", "KUBERNETES_SERVICE_HOST is not set"),
        ("https", "10.0.0.1", "", "KUBERNETES_SERVICE_PORT is not set"),
        ("https", "10.0.0.1", "0", "KUBERNETES_SERVICE_PORT is '0'"),
        ("https", "10.0.0.1", "65536", "KUBERNETES_SERVICE_PORT is '65536'"),
        ("https", "10.0.0.1", "tcp://10.0.0.1:443", "KUBERNETES_SERVICE_PORT is 'tcp:"),
        ("https", 'a"\nb', "443", "KUBERNETES_SERVICE_HOST is 'a"),
        ("https", "10.0.0.1/x", "443", "KUBERNETES_SERVICE_HOST is '10.0.0.1/x'"),
        ("ftp", "10.0.0.1", "443", "KUBERNETES_SERVICE_PROTOCOL is 'ftp'"),
    ],
)
def test_a_server_that_is_none_is_named(protocol: str, host: str, port: str, message: str) -> None:
    with pytest.raises(InstallError, match=message):
        api_server(protocol, host, port)


@pytest.fixture
def account(tmp_path: Path) -> ServiceAccount:
    return ServiceAccount(tmp_path / "account")


def _read(account: ServiceAccount) -> Credentials | None:
    return read_credentials(str(account.directory), str(account.directory / "ca.crt"))


def test_credentials_are_the_token_without_line_end_and_the_authority_as_it_is(
    account: ServiceAccount,
) -> None:
    account.rotate("token\n", CERTIFICATE.format("x"))
    assert _read(account) == Credentials("token", CERTIFICATE.format("x").encode())


def test_no_token_is_no_error(account: ServiceAccount, tmp_path: Path) -> None:
    account.rotate(None, CERTIFICATE.format("x"))
    assert _read(account) is None
    assert read_credentials(str(tmp_path / "absent"), None) is None


@pytest.mark.parametrize("token", ["", "\n", "two words", "to\nken", "tok\x00en", "t\u00f6ken"])
def test_a_token_that_is_none_is_refused_without_being_told(account: ServiceAccount, token: str) -> None:
    account.rotate(token, CERTIFICATE.format("x"))
    with pytest.raises(CredentialsError, match=r"account/token is ") as caught:
        _read(account)
    assert not token.strip() or token not in str(caught.value)


@pytest.mark.parametrize(
    "authority",
    [None, "", "garbage", "-----BEGIN CERTIFICATE-----\nx", CERTIFICATE + "-----BEGIN CERTIFICATE-----"],
)
def test_an_authority_that_is_not_whole_is_refused(account: ServiceAccount, authority: str | None) -> None:
    account.rotate("token", authority)
    with pytest.raises(CredentialsError, match=r"ca.crt .* KUBE_CA_FILE, or set SKIP_TLS_VERIFY=true"):
        _read(account)


def test_what_never_ends_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "token").symlink_to("/dev/zero")
    with pytest.raises(CredentialsError, match="has more than"):
        read_credentials(str(tmp_path), None)


def test_credentials_do_not_show_themselves() -> None:
    credentials = Credentials("s3cret", b"authority")
    assert "s3cret" not in f"{credentials} {credentials!r} {[credentials]}"
