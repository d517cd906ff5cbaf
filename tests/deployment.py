"""The manifests in ``deploy/``, as the tests of them read them."""

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from .api_server import program

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "base"
CHART = DEPLOY / "chart" / "whereabouts"
COMPONENTS = ("alerts", "coexist", "metrics", "podmonitor", "status-page")

yaml: Any = import_module("yaml")

Manifest = dict[str, Any]


class Name(NamedTuple):
    """What tells one object from another."""

    kind: str
    namespace: str
    name: str


def documents(text: str) -> list[Manifest]:
    """The objects in a text of YAML."""
    return [document for document in yaml.safe_load_all(text) if document]


def written() -> list[Manifest]:
    """What stands in the files of the base, without the custom resource definitions."""
    files = sorted(path for path in BASE.glob("*.yaml") if path.name != "kustomization.yaml")
    return [document for path in files for document in documents(path.read_text())]


def uninstaller() -> Manifest:
    """The DaemonSet that takes everything away again."""
    (content,) = documents((DEPLOY / "uninstall" / "daemonset.yaml").read_text())
    return content


def by_name(objects: Iterable[Manifest]) -> dict[Name, Manifest]:
    """Objects by what tells them apart; each comes once."""
    found: dict[Name, Manifest] = {}
    for content in objects:
        metadata = content["metadata"]
        name = Name(content["kind"], metadata.get("namespace", ""), metadata["name"])
        assert name not in found, name
        found[name] = content
    return found


def kustomized(folder: Path) -> list[Manifest]:
    """What ``kubectl kustomize`` makes of a folder."""
    run = subprocess.run(
        [program("kubectl"), "kustomize", folder], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return documents(run.stdout)


def overlay(folder: Path, **fields: object) -> Path:
    """Write a kustomization over the base into ``folder``, which is given back.

    ``components`` are names of this project's components.
    """
    components = [_relative(DEPLOY / "components" / str(name), folder) for name in _texts(fields)]
    content = {**fields, "resources": [_relative(BASE, folder)], "components": components}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def _texts(fields: Mapping[str, object]) -> Iterable[object]:
    components = fields.get("components", ())
    assert isinstance(components, tuple)
    return components


def _relative(path: Path, folder: Path) -> str:
    """kustomize takes no absolute paths."""
    up = "/".join([".."] * (len(folder.resolve().parts) - 1))
    return f"{up}{path.resolve()}"


def of_kind(objects: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [content for content in objects if content["kind"] == kind]


def pod_templates(objects: Iterable[Manifest]) -> dict[str, Manifest]:
    """Pod templates by the names of their workloads."""
    return {
        content["metadata"]["name"]: content["spec"]["template"]
        for content in objects
        if content["kind"] in ("DaemonSet", "Deployment")
    }


def options(container: Manifest, name: str) -> list[str]:
    """The values that a container's command line has for an option."""
    return [text.partition("=")[2] for text in container["args"] if text.startswith(f"{name}=")]


def containers(template: Manifest) -> Iterator[Manifest]:
    """All containers of a pod template."""
    spec = template["spec"]
    yield from spec.get("initContainers", ())
    yield from spec["containers"]
