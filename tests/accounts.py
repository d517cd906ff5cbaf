"""Service accounts with the rights that ``deploy/`` gives them, or with one less, on a real API server."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from whereabouts.install.credentials import Credentials
from whereabouts.install.kubeconfig import kubeconfig_text

from .api_server import ApiServer
from .deployment import Manifest, of_kind, written

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ACCOUNTS = [content["metadata"]["name"] for content in of_kind(written(), "ServiceAccount")]
_numbers = itertools.count()


class Permission(NamedTuple):
    """One verb on one resource, in the account's namespace or in the whole cluster."""

    everywhere: bool
    group: str
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (" everywhere" if self.everywhere else "")


def permissions(account: str) -> list[Permission]:
    """What ``deploy/`` lets a service account do."""
    objects = written()
    found = []
    for kind in ("Role", "ClusterRole"):
        bound = {
            binding["roleRef"]["name"]
            for binding in of_kind(objects, f"{kind}Binding")
            if account in [subject["name"] for subject in binding["subjects"]]
        }
        for role in of_kind(objects, kind):
            if role["metadata"]["name"] in bound:
                for rule in role["rules"]:
                    every = itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
                    found += [Permission(kind == "ClusterRole", *one) for one in every]
    assert len(found) == len(set(found)), "a right is given twice"
    return found


class Account:
    """A service account in a namespace of its own."""

    def __init__(self, server: ApiServer, rights: list[Permission], folder: Path) -> None:
        """Make the account, give it ``rights``, and wait until the server knows that it has them."""
        self.server = server
        self.namespace = server.namespace()
        self._name = f"account-{next(_numbers)}"
        self._create(f"/api/v1/namespaces/{self.namespace}/serviceaccounts", {})
        for kind, everywhere in (("Role", False), ("ClusterRole", True)):
            self._bind(kind, [right for right in rights if right.everywhere is everywhere])
        self.token = self.issued_token()
        """A bearer token."""
        self.kubeconfig = str(folder / f"{self._name}.kubeconfig")
        """A file as the installer writes it."""
        authority = Path(server.authority).read_bytes()
        credentials = Credentials(self.token, authority)
        Path(self.kubeconfig).write_text(kubeconfig_text(server.server, self.namespace, credentials))
        self._wait_for(rights)

    def _create(self, path: str, content: Manifest) -> Any:
        reply = self.server.call("POST", path, {"metadata": {"name": self._name}, **content})
        assert reply.status == 201, reply.body
        return reply.body

    def _bind(self, kind: str, rights: list[Permission]) -> None:
        rules = [
            {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}
            for right in rights
        ]
        place = RBAC if kind == "ClusterRole" else f"{RBAC}/namespaces/{self.namespace}"
        self._create(f"{place}/{kind.lower()}s", {"rules": rules})
        subject = {"kind": "ServiceAccount", "name": self._name, "namespace": self.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self._name}
        self._create(f"{place}/{kind.lower()}bindings", {"roleRef": role, "subjects": [subject]})

    def issued_token(self) -> str:
        """Ask for a token, as the kubelet does."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{self._name}/token"
        reply = self.server.call("POST", path, {"spec": {"expirationSeconds": 3600}})
        assert reply.status == 201, reply.body
        return str(reply.body["status"]["token"])

    def _wait_for(self, rights: list[Permission]) -> None:
        wanted = {right[1:] for right in rights}
        end = time.monotonic() + 60
        while not wanted <= self._known():
            assert time.monotonic() < end, "the API server does not see the roles"
            time.sleep(0.02)

    def _known(self) -> set[tuple[str, str, str]]:
        review = {"spec": {"namespace": self.namespace}}
        reply = self.server.call(
            "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", review, token=self.token
        )
        assert reply.status == 201, reply.body
        return {
            (group, resource, verb)
            for rule in reply.body["status"]["resourceRules"]
            for group in rule["apiGroups"]
            for resource in rule.get("resources", ())
            for verb in rule["verbs"]
        }

    def close(self) -> None:
        """Take the rights in the whole cluster back."""
        for plural in ("clusterrolebindings", "clusterroles"):
            self.server.call("DELETE", f"{RBAC}/{plural}/{self._name}")


@contextmanager
def account(server: ApiServer, rights: list[Permission], folder: Path) -> Iterator[Account]:
    """An account with these rights; its kubeconfig is in ``folder``."""
    made = Account(server, rights, folder)
    try:
        yield made
    finally:
        made.close()
