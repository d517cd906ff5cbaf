"""From the words of a network configuration, and those of the host's flat file, to checked values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whereabouts.cni.args import CniArgs
from whereabouts.cni.errors import quote
from whereabouts.cni.json_object import member, type_name
from whereabouts.cni.results import IPConfig
from whereabouts.config.datastores import changed_etcd_keys, check_network_name, choose_datastore, read_etcd
from whereabouts.config.errors import ConfigError, NotOurs, Problems
from whereabouts.config.extras import read_dns, read_routes, read_static
from whereabouts.config.files import Files
from whereabouts.config.flat_file import read_flat_file
from whereabouts.config.keys import KEYS, LOG_LEVELS
from whereabouts.config.members import Members, Place, paths_in, read_members
from whereabouts.config.network_ranges import read_ranges
from whereabouts.config.values import Config, ConfiguredRange, LeaderTimes

IPAM_TYPE = "whereabouts"

_ONE_ADDRESS_A_FAMILY = ("", "0.1.0", "0.2.0")
"""Versions of the protocol in which a result has at most one address of each family."""
_NO_ARGS = CniArgs()


def load(
    config: Mapping[str, object],
    *,
    network: str,
    files: Files,
    cni_version: str = "",
    container_id: str = "",
    args: CniArgs = _NO_ARGS,
    lenient: bool = False,
) -> Config:
    """Make checked values of a decoded network configuration (with its ``ipam``) called ``network``.

    Keys that are empty in ``ipam`` come from the flat file, if the host has one. ``container_id`` stands
    for the pod if ``args`` name none.

    Raises :class:`NotOurs` for another IPAM plugin's configuration, and :class:`ConfigError`, also where
    ``files`` do not admit a path that the network configuration names, before anything is read, or what it
    would make of the host's etcd. ``lenient``, for giving addresses back, passes over mistakes that do not
    say where the records are: what is wrong is left out, and ``warnings`` tell so.
    """
    problems = Problems(lenient, [])
    ipam = _ipam(config)
    inline = read_members(ipam, KEYS, Place("LoadIPAMConfig - JSON Parsing Error: ", "ipam.", problems))
    for key, path in paths_in(inline):
        files.admit(key, path)
    flat = read_flat_file(files, inline.text("configuration_path"), problems)
    for key in changed_etcd_keys(inline, flat):
        files.admit_change(key)
    merged = inline.over(flat)
    datastore = choose_datastore(merged)
    check_network_name(merged.text("network_name"), datastore, problems)
    ranges = read_ranges(merged, network, problems)
    static = read_static(merged, args, problems)
    _check_reportable(ranges, static, cni_version, problems)
    return Config(
        network=network,
        cni_version=cni_version,
        pod_ref=f"{args.pod_namespace}/{args.pod_name}" if args.pod_name else container_id,
        pod_uid=args.pod_uid,
        ranges=ranges,
        static=static,
        routes=read_routes(merged, problems),
        dns=read_dns(merged),
        network_name=merged.text("network_name"),
        overlapping=merged.flag("enable_overlapping_ranges"),
        node_slice_borrow=merged.flag("node_slice_borrow"),
        datastore=datastore,
        local_path=merged.object("local").text("path"),
        kubeconfig=merged.object("kubernetes").text("kubeconfig"),
        coexist_with_upstream=merged.flag("coexist_with_upstream"),
        etcd=read_etcd(merged, problems) if datastore == "etcd" else None,
        configuration_path=merged.text("configuration_path"),
        log_file=merged.text("log_file"),
        log_level=_log_level(merged, problems),
        leader=_leader_times(merged, problems),
        warnings=tuple(problems.warnings),
    )


def _ipam(config: Mapping[str, object]) -> Mapping[str, object]:
    ipam = member(config, "ipam")
    if ipam is None:
        raise NotOurs("IPAM config missing 'ipam' key")
    if not isinstance(ipam, dict):
        found = type_name(ipam)
        raise ConfigError(
            f'LoadIPAMConfig - JSON Parsing Error: key "ipam": expected an object, found {found}'
        )
    ipam_type = member(ipam, "type")
    if ipam_type != IPAM_TYPE:
        shown = quote(ipam_type)[1:-1] if isinstance(ipam_type, str) else type_name(ipam_type)
        raise NotOurs(
            f"only interested in networks whose IPAM type is '{IPAM_TYPE}'. This one was: "
            f"{shown if ipam_type is not None else ''}"
        )
    return ipam


def _check_reportable(
    ranges: Sequence[ConfiguredRange], static: Sequence[IPConfig], cni_version: str, problems: Problems
) -> None:
    """Report more addresses of a family than a result of this version of the protocol can have.

    The Go plugin stores an address of each range and reports the first; of static addresses it reports
    none where a range gives one, which stays so and is only warned about.
    """
    if cni_version not in _ONE_ADDRESS_A_FAMILY:
        return
    refusal = f"CNI version {cni_version} does not support more than 1 address per family"
    for version in (4, 6):
        dynamic = sum(one.range.version == version for one in ranges)
        fixed = sum(one.address.version == version for one in static)
        if dynamic > 1:
            problems.report(f"{refusal}: there are {dynamic} ranges of IPv{version}")
        if fixed > 1:
            problems.report(f"{refusal}: there are {fixed} static addresses of IPv{version}")
        if dynamic and fixed:
            problems.warnings.append(f"{refusal}: the static IPv{version} address is not reported")


def _log_level(config: Members, problems: Problems) -> str:
    level = config.text("log_level").lower()
    if level in LOG_LEVELS:
        return level
    default = str(KEYS["log_level"].default)
    problems.warnings.append(
        f"log_level {quote(level)} is none of {', '.join(LOG_LEVELS)}: {default} is used instead"
    )
    return default


def _leader_times(config: Members, problems: Problems) -> LeaderTimes:
    """The times, checked as Kubernetes' leader election wants them."""
    times = LeaderTimes(
        config.number("leader_lease_duration"),
        config.number("leader_renew_deadline"),
        config.number("leader_retry_period"),
    )
    if times.retry_period > 0 and times.lease_duration > times.renew_deadline > 1.2 * times.retry_period:
        return times
    problems.report(
        f"leader_lease_duration {times.lease_duration} must be greater than leader_renew_deadline "
        f"{times.renew_deadline}, and that greater than 1.2 times leader_retry_period {times.retry_period}"
    )
    return times
