"""Patches as the API server applies them."""

from typing import Any

from .api_double_requests import Failure

TESTS_FAILED = "the server rejected our request due to an error in our request"


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


def json_patched(target: Any, operations: Any) -> Any:
    """RFC 6902, as far as it is used, with the API server's answer to a test that fails."""
    for operation in operations:
        *parents, last = [
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        ]
        place = target
        for part in parents:
            place = place.get(part) if isinstance(place, dict) else None
        match operation["op"]:
            case "test":
                if (place or {}).get(last) != operation["value"]:
                    raise Failure(422, "Invalid", TESTS_FAILED)
            case "add" | "replace" | "remove" if place is None or (
                operation["op"] != "add" and last not in place
            ):
                raise Failure(422, "Invalid", TESTS_FAILED)
            case "add" | "replace":
                place[last] = operation["value"]
            case "remove":
                del place[last]
            case other:
                raise Failure(501, "NotImplemented", f"the double does not know {other}")
    return target
