"""Configurations and objects that the documents show are accepted."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.api_server import api_server
from tests.config_cases import loaded
from tests.documents import PAGES, Block, blocks
from tests.foreign_definitions import install_foreign_definitions

JSON = [block for page in PAGES for block in blocks(page) if block.language == "json"]
YAML = [block for page in PAGES for block in blocks(page) if block.language in ("yaml", "yml")]


def _ipam(value: Any) -> dict[str, Any] | None:
    """The part of a network configuration that is ours; None for other JSON."""
    ipam = value.get("ipam", value) if isinstance(value, dict) else {}
    return ipam if isinstance(ipam, dict) and ipam.get("type") == "whereabouts" else None


@pytest.mark.parametrize("block", JSON, ids=lambda block: block.where)
def test_network_configurations_are_accepted_without_a_warning(block: Block) -> None:
    ipam = _ipam(json.loads(block.text))
    if ipam is not None:
        assert loaded(ipam).warnings == ()


@pytest.mark.apiserver
@pytest.mark.parametrize("block", YAML, ids=lambda block: block.where)
def test_an_api_server_takes_the_objects(block: Block, tmp_path: Path) -> None:
    parts = block.text.split("\n---\n")
    objects = [part for part in parts if "apiVersion:" in part and "kustomize.config.k8s.io" not in part]
    if objects:
        path = tmp_path / "objects.yaml"
        path.write_text("\n---\n".join(objects))
        server = api_server()
        install_foreign_definitions(server)
        printed = server.kubectl("apply", "--dry-run=server", "--validate=strict", f"--filename={path}")
        assert printed.count("(server dry run)") == len(objects)
