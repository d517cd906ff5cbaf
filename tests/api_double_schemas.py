"""What the double of the API server finds wrong with an object: metadata, and structural schemas."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import Any

from .api_double_requests import Failure

NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
ANNOTATIONS_LIMIT = 256 << 10

TYPES = {"string": str, "integer": int, "object": dict, "array": list}
KNOWN = {
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "description",
    "pattern",
    "maxLength",
    "minLength",
    "enum",
    "maxItems",
    "minimum",
    "maximum",
    "format",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-open",
}
"""``x-open`` is ours: an object of which only some fields are described here, and the others kept as well."""


def invalid(value: Any, schema: Any, path: str) -> Iterator[str]:
    """What a value violates of a structural schema. Fields that the schema does not have are removed."""
    unknown = set(schema) - KNOWN
    assert not unknown, f"the double does not know {unknown} in a schema"
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{path}: it has to be a number or a string"
        return
    expected = TYPES[schema["type"]]
    if not isinstance(value, expected) or isinstance(value, bool):
        yield f"{path} in body must be of type {schema['type']}"
    elif isinstance(value, dict):
        yield from _invalid_object(value, schema, path)
    elif isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{path}: Too many: must have at most {schema['maxItems']} items"
        keys = schema.get("x-kubernetes-list-map-keys", ())
        names = [tuple(item.get(key) for key in keys) for item in value] if keys else []
        if len(set(names)) < len(names):
            yield f"{path}: Duplicate value"
        for index, item in enumerate(value):
            yield from invalid(item, schema["items"], f"{path}[{index}]")
    else:
        yield from _invalid_scalar(value, schema, path)


def _invalid_object(value: dict[str, Any], schema: Any, path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: Required value"
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in list(value):
        if name in ("metadata", "apiVersion", "kind") and not path:
            continue
        if value[name] is None:
            del value[name]
        elif name in properties:
            yield from invalid(value[name], properties[name], f"{path}.{name}".lstrip("."))
        elif others is not None:
            yield from invalid(value[name], others, f"{path}.{name}".lstrip("."))
        elif not schema.get("x-open"):
            del value[name]


def _invalid_scalar(value: Any, schema: Any, path: str) -> Iterator[str]:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path} in body should match '{schema['pattern']}'"
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield f"{path}: Too long: may not be more than {schema['maxLength']} bytes"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: Unsupported value: {value!r}"
    if len(str(value)) < schema.get("minLength", 0):
        yield f"{path} in body should be at least {schema['minLength']} chars long"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{path} in body should be between {schema['minimum']} and {schema['maximum']}"
    if schema.get("format") == "byte":
        try:
            b64decode(value, validate=True)
        except (Base64Error, ValueError):
            yield f"{path} in body must be of type byte"


def check_metadata(metadata: Any) -> None:
    name = metadata.get("name", "")
    faults = []
    if not NAME.fullmatch(name) or len(name) > 253:
        faults.append(f'metadata.name: Invalid value: "{name}"')
    for value in (metadata.get("labels") or {}).values():
        if not LABEL.fullmatch(value) or len(value) > 63:
            faults.append(f'metadata.labels: Invalid value: "{value}"')
    annotations = metadata.get("annotations") or {}
    if any(not isinstance(value, str) for value in annotations.values()):
        raise Failure(400, "BadRequest", "annotations have to be strings")
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_LIMIT:
        faults.append("metadata.annotations: Too long: may not be more than 262144 bytes")
    if faults:
        raise Failure(422, "Invalid", f'"{name}" is invalid: {"; ".join(faults)}')
