"""``CNI_ARGS``: the pairs ``K=V;K=V`` by which a runtime says which pod an attachment is for."""

from __future__ import annotations

from whereabouts.cni.errors import WHEREABOUTS, CniError, quote, shorten
from whereabouts.values import NamedTuple

LONGEST_POD_TEXT = 253
"""What Kubernetes allows for the name of an object."""

_BOOLEANS = {"1": True, "true": True, "0": False, "false": False}
_POD_KEYS = ("K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID")
_KNOWN = frozenset({*_POD_KEYS, "K8S_POD_INFRA_CONTAINER_ID", "IgnoreUnknown", "IP", "GATEWAY"})


class CniArgs(NamedTuple):
    """The arguments that are known; texts are empty where the runtime gave none."""

    pod_name: str = ""
    pod_namespace: str = ""
    pod_uid: str = ""
    infra_container_id: str = ""
    ip: tuple[str, ...] = ()
    """``IP``: addresses with prefix length, not parsed yet, blanks around each taken off."""
    gateway: tuple[str, ...] = ()
    """``GATEWAY``: addresses, not parsed yet, blanks around each taken off."""
    ignore_unknown: bool = False


def read_args(text: str) -> CniArgs:
    """Take ``CNI_ARGS`` apart; the last value of a key that comes twice counts.

    Raises :class:`CniError` (code 999) for an element without exactly one ``=``, for an unknown key
    unless ``IgnoreUnknown`` is true, and for pod texts that could not be kept in a record.
    """
    values: dict[str, str] = {}
    unknown: list[str] = []
    ignore_unknown = False
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise _args_error(f"invalid pair {quote(pair)}")
        if key not in _KNOWN:
            unknown.append(pair)
        elif key == "IgnoreUnknown":
            ignore_unknown = _boolean(pair, value)
        else:
            values[key] = value
    if unknown and not ignore_unknown:
        raise _args_error(f"unknown args [{' '.join(map(quote, unknown))}]")
    for key in _POD_KEYS:
        _check_pod_text(key, values.get(key, ""))
    return CniArgs(
        values.get("K8S_POD_NAME", ""),
        values.get("K8S_POD_NAMESPACE", ""),
        values.get("K8S_POD_UID", ""),
        values.get("K8S_POD_INFRA_CONTAINER_ID", ""),
        _items(values.get("IP", "")),
        _items(values.get("GATEWAY", "")),
        ignore_unknown,
    )


def _boolean(pair: str, value: str) -> bool:
    try:
        return _BOOLEANS[value.lower()]
    except KeyError:
        reason = f"boolean unmarshal error: invalid input {shorten(value.lower())}"
        raise _args_error(f"error parsing value of pair {quote(pair)}: {reason}") from None


def _items(value: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in value.split(",")) if value else ()


def _check_pod_text(key: str, value: str) -> None:
    if len(value) > LONGEST_POD_TEXT:
        raise _args_error(f"{key} has {len(value)} characters, at most {LONGEST_POD_TEXT} are allowed")
    if " " in value or not value.isprintable():
        raise _args_error(f"{key} contains control characters or whitespace: {quote(value)}")
    if "/" in value:
        raise _args_error(f"{key} contains /, which separates namespace and name: {quote(value)}")


def _args_error(reason: str) -> CniError:
    return CniError(WHEREABOUTS, f"LoadArgs - CNI Args Parsing Error: ARGS: {reason}")
