"""``whereabouts explain``: why a pod has its address, why a range is full, what the next ADD would give."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from whereabouts.addresses import AddressError, parse_network, text_of
from whereabouts.commands import arguments, datastore, evidence, formats
from whereabouts.commands.show import shown_time
from whereabouts.config import ConfigError
from whereabouts.deadline import Deadline
from whereabouts.explanation import (
    DAMAGED,
    HINTED,
    NO_ROOM,
    Next,
    PodAddress,
    RangeAccount,
    Shares,
    Skipped,
    account,
    next_address,
    plain_range,
    pod_address,
)
from whereabouts.node_slices import Cut, slice_of
from whereabouts.overview import exact, held
from whereabouts.pool import Pool, PoolKey, view_of
from whereabouts.ranges import Range
from whereabouts.store import Store

VERSION = 1
_SHOWN_RUNS = 12
_WHY = {
    HINTED: "the pool calls it exhausted, so it is not looked at",
    NO_ROOM: "nothing that this configuration may give is left in it",
    DAMAGED: "it is damaged: all its addresses count as used",
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "explain",
        help="say why a pod has its address, why a range is full, or what the next ADD would give",
        description="explain pod NAMESPACE/NAME: why it has its addresses. explain range CIDR: where the "
        "range's addresses are. explain next CIDR, or --netconf: what the next new pod would be given. Exit "
        "status: 0; 1 where there is nothing to explain, or no address is left; 2 wrong use.",
    )
    datastore.add_options(parser)
    evidence.add_witness_options(parser)
    evidence.add_network_options(parser)
    formats.add_option(parser, ("text", "json", "yaml"))
    parser.add_argument("what", choices=("pod", "range", "next"), help="what is to be explained")
    parser.add_argument(
        "subject", nargs="?", metavar="POD|CIDR", help="NAMESPACE/NAME, or the network of a range"
    )
    parser.add_argument("--interface", metavar="NAME", help="only this interface of the pod")
    parser.add_argument(
        "--network", metavar="NAME", help="only of this network_name; '' for those without one"
    )
    parser.add_argument("--of-node", metavar="NODE", help="explain next: the node whose slice is searched")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Explain; 1 where there is nothing to explain."""
    explain = {"pod": _pod, "range": _range, "next": _next}[chosen.what]
    try:
        if chosen.interface is not None and chosen.what != "pod":
            raise ConfigError("--interface belongs to explain pod")
        if chosen.of_node is not None and chosen.what != "next":
            raise ConfigError("--of-node belongs to explain next")
        return explain(chosen)
    except ConfigError as error:
        formats.complain(str(error))
        return 2


def _print(chosen: argparse.Namespace, texts: Sequence[Sequence[str]], values: Sequence[object]) -> None:
    if chosen.output == "text":
        formats.print_lines("\n\n".join("\n".join(lines) for lines in texts).splitlines())
    else:
        print(formats.document({"version": VERSION, chosen.what: list(values)}, chosen.output))


def _nothing(sentence: str) -> int:
    formats.complain(sentence)
    return 1


# ------------------------------------------------------------------------- pods


def _pod(chosen: argparse.Namespace) -> int:
    try:
        pod_ref = arguments.pod(chosen.subject or "")
    except argparse.ArgumentTypeError as error:
        raise ConfigError(str(error)) from error
    deadline = Deadline.none()
    config = datastore.configured(chosen)
    with datastore.opened(chosen) as store, evidence.gathered(chosen, config, store) as known:
        networks = evidence.networks(chosen, config, known, deadline)
        pools = [stored.pool for stored in store.pools(deadline)]
        records = [
            record
            for record in held(
                store, lambda owner: owner.pod_ref == pod_ref, deadline, chosen.network
            ).records
            if chosen.interface in (None, record.owner.ifname)
        ]
        found = []
        for record in records:
            key = PoolKey(record.space.network_name, record.owner.range)
            found.append(pod_address(store, record, pools, networks.ranges.get(key, ()), deadline))
    if not found:
        return _nothing(f"no address is recorded for {pod_ref}")
    _print(chosen, [list(_pod_lines(one)) for one in found], [_pod_as_json(one) for one in found])
    return 0


def _pod_lines(one: PodAddress) -> Iterator[str]:
    record = one.record
    owner = record.owner
    of = f" of network {record.space.network_name}" if record.space.network_name else ""
    at = f" since {shown_time(owner.created)}" if owner.created else ""
    where = f" on {owner.node}" if owner.node else ""
    yield f"{owner.pod_ref} {owner.ifname} has {text_of(record.address)}{at}{where}."
    yield f"It was given from range {owner.range}{of} for CNI network {owner.network or '(not known)'}."
    block = record.block
    yield f"It is recorded in block {block.name}, {block.cidr}, for container {owner.container_id}."
    if one.pool is None or one.below is None:
        yield "No pool of that range lives where the record is: whereabouts check says what is wrong."
        return
    if not one.given:
        yield "The range as it is configured now would not give it; a pod keeps what it has."
    yield from _below_lines(one.below, text_of(record.address))
    if one.lowest is not None:
        yield (
            f"{text_of(one.lowest)} is lower and free now: it was freed after this address was given, or a "
            "hint led the search past its block."
        )
    elif not one.below.free:
        yield "No lower address of the range is free."


def _below_lines(below: Shares, address: str) -> Iterator[str]:
    yield f"Below {address} the range has {formats.counted(below.addresses, 'address', 'es')}:"
    yield from _share_lines(below)


def _share_lines(part: Shares) -> Iterator[str]:
    rows = [
        (part.edges, "never given: the network's first or last"),
        (part.outside, "never given: outside range_start and range_end"),
        (part.excluded, "never given: excluded"),
        (part.dot_zero, "never given: they end in .0"),
        (part.used, "in use"),
        (part.free, "free"),
    ]
    width = max(len(str(count)) for count, _ in rows)
    for count, what in rows:
        if count:
            yield f"  {count:{width}}  {what}"


def _pod_as_json(one: PodAddress) -> dict[str, object]:
    record = one.record
    return {
        "address": text_of(record.address),
        "network_name": record.space.network_name,
        "block": record.block.name,
        "owner": record.owner._asdict(),
        "given_by_configuration": one.given,
        "below": None if one.below is None else _shares_as_json(one.below),
        "lowest_free_below": None if one.lowest is None else text_of(one.lowest),
    }


def _shares_as_json(part: Shares) -> dict[str, object]:
    return {**{name: exact(count) for name, count in part._asdict().items()}, "free": exact(part.free)}


# ----------------------------------------------------------------------- ranges


class _Subject(NamedTuple):
    """A pool, and one configuration of its range."""

    pool: Pool
    configured: Range
    known: bool
    """Whether such a configuration is known to exist."""


def _subjects(
    chosen: argparse.Namespace, store: Store, networks: evidence.Networks, deadline: Deadline
) -> list[_Subject]:
    """Each known configuration of the ranges that were asked for; the plain range where none is known."""
    wanted = None if chosen.subject is None else _network(chosen.subject)
    if wanted is None and not chosen.netconf:
        raise ConfigError(f"explain {chosen.what}: say which range, by its network or with --netconf")
    pools = {stored.pool.key: stored.pool for stored in store.pools(deadline, chosen.network)}
    shared = dict.fromkeys(networks.ranges, True) | {key: pool.shared for key, pool in pools.items()}
    found = []
    for key in sorted(shared):
        if chosen.network not in (None, key.network_name) or wanted not in (None, key.range):
            continue
        if wanted is None and key not in networks.ranges:
            continue
        pool = pools.get(key, Pool(key, shared[key]))
        ranges = {view_of(one): one for one in networks.ranges.get(key, ())}
        known = [_Subject(pool, one, known=True) for one in ranges.values()]
        found += known or [_Subject(pool, plain_range(pool), known=False)]
    return found


def _network(text: str) -> str:
    try:
        return str(parse_network(text))
    except AddressError as error:
        raise ConfigError(f"{text!r} is no range: {error}") from error


def _heading(subject: _Subject) -> str:
    pool = subject.pool
    of = f" of network {pool.key.network_name}" if pool.key.network_name else ""
    if pool.key.node:
        of += f", which is {pool.key.node}'s slice of {pool.key.whole}"
    how = (
        "as configured"
        if subject.known
        else "without bounds and excludes: no configuration of it is known here"
    )
    excludes = f", without {', '.join(subject.configured.excludes)}" if subject.configured.excludes else ""
    first, last = subject.configured.first, subject.configured.last
    kind = type(subject.configured.network.network_address)
    return f"Range {pool.key.range}{of} ({how}): {text_of(kind(first))} to {text_of(kind(last))}{excludes}."


def _range(chosen: argparse.Namespace) -> int:
    deadline = Deadline.none()
    config = datastore.configured(chosen)
    with datastore.opened(chosen) as store, evidence.gathered(chosen, config, store) as known:
        networks = evidence.networks(chosen, config, known, deadline)
        subjects = _subjects(chosen, store, networks, deadline)
        accounts = [account(store, one.pool, one.configured, known.witness, deadline) for one in subjects]
    if not subjects:
        return _nothing(f"range {chosen.subject} has no pool: no ADD has used it")
    asked = known.witness is not None
    pairs = list(zip(subjects, accounts, strict=True))
    texts = [list(_account_lines(subject, one, asked=asked)) for subject, one in pairs]
    _print(chosen, texts, [_account_as_json(subject, one, asked=asked) for subject, one in pairs])
    return 0


def _account_lines(subject: _Subject, one: RangeAccount, *, asked: bool) -> Iterator[str]:
    yield _heading(subject)
    yield f"It has {one.shares.addresses} addresses:"
    yield from _share_lines(one.shares)
    yield "Used addresses, by who has them:" if one.holders else "No address is used."
    for holder, count in one.holders.items():
        yield f"  {count}  {_HOLDERS.get(holder, f'given from {holder}, which overlaps it')}"
    for reason, count in one.suspects.items():
        yield f"  {count}  of them have nobody behind them: {reason}"
    if not asked:
        yield f"Not looked at: {evidence.NO_WITNESS}."
    if one.hinted:
        yield f"The hints of this configuration call {formats.counted(one.hinted, 'block')} exhausted."
    yield _conclusion(one)


_HOLDERS = {
    "this range": "given from this range",
    "conflict": "given twice, once by each plugin",
    "damaged block": "in damaged blocks",
}


def _conclusion(one: RangeAccount) -> str:
    if one.shares.usable == 0:
        return "It can give no address at all: bounds and excludes leave nothing."
    if one.shares.free:
        return f"It has room for {one.shares.free} more."
    if one.suspects:
        return f"It is full. whereabouts release would free {sum(one.suspects.values())}."
    return "It is full: every address that it can give is in use."


def _account_as_json(subject: _Subject, one: RangeAccount, *, asked: bool) -> dict[str, object]:
    return {
        **_subject_as_json(subject),
        "addresses": _shares_as_json(one.shares),
        "holders": dict(one.holders),
        "suspects": dict(one.suspects) if asked else None,
        "hinted_blocks": exact(one.hinted),
    }


def _subject_as_json(subject: _Subject) -> dict[str, object]:
    configured, kind = subject.configured, type(subject.configured.network.network_address)
    return {
        "network_name": subject.pool.key.network_name,
        "range": subject.pool.key.range,
        "configured": subject.known,
        "first": text_of(kind(configured.first)),
        "last": text_of(kind(configured.last)),
        "exclude": list(configured.excludes),
    }


# ------------------------------------------------------------------------- next


def _next(chosen: argparse.Namespace) -> int:
    deadline = Deadline.none()
    config = datastore.configured(chosen)
    with datastore.opened(chosen) as store, evidence.gathered(chosen, config, store) as known:
        networks = evidence.networks(chosen, config, known, deadline)
        subjects = _subjects(chosen, store, networks, deadline)
        if chosen.of_node is not None:
            subjects = [_of_node(store, one, networks, chosen.of_node, deadline) for one in subjects]
        answers = [next_address(store, one.pool, one.configured, deadline) for one in subjects]
    if not subjects:
        return _nothing(
            f"range {chosen.subject} has no pool: no ADD has used it. --netconf explains it all the same"
        )
    pairs = list(zip(subjects, answers, strict=True))
    cut = {one.pool.key for one in subjects if one.pool.key in networks.rules}
    texts = [list(_next_lines(*pair, cut=pair[0].pool.key in cut)) for pair in pairs]
    _print(chosen, texts, [_next_as_json(*pair) for pair in pairs])
    return 0 if all(answer.address is not None for answer in answers) else 1


def _of_node(
    store: Store, subject: _Subject, networks: evidence.Networks, node: str, deadline: Deadline
) -> _Subject:
    """What a node gives of a range: of one that is cut into slices, its slice."""
    key = subject.pool.key
    rule = networks.rules.get(key)
    if rule is None:
        return subject
    part = slice_of(store, Cut(subject.configured, rule, node), deadline)
    if part is None:
        raise ConfigError(f"--of-node: {node} has no slice of {key.range} yet")
    own = key.of_slice(str(part), node)
    hinted = {stored.pool.key: stored.pool for stored in store.pools(deadline, hinted=True)}
    pool = hinted.get(own, Pool(own, subject.pool.shared))
    return _Subject(pool, subject.configured.within(part), subject.known)


def _next_lines(subject: _Subject, answer: Next, *, cut: bool) -> Iterator[str]:
    yield _heading(subject)
    if cut:
        yield (
            "It is cut into slices, and an ADD takes the lowest free address of its node's slice: say which "
            "with --of-node. What follows is of the whole range."
        )
    if answer.address is None:
        yield "The next ADD fails: no address is left. whereabouts explain range says where they are."
    else:
        yield f"The next ADD of a new pod gives {text_of(answer.address)}, unless another one is faster."
    if answer.lowest is not None and answer.lowest != answer.address:
        yield (
            f"{text_of(answer.lowest)} is lower and free, but the pool calls its block exhausted. That costs "
            "order only, until an address is freed there."
        )
    if answer.skipped:
        yield f"Blocks before it, {len(answer.skipped)} of them:"
        yield from _skipped_lines(answer.skipped)


def _skipped_lines(skipped: Sequence[Skipped]) -> Iterator[str]:
    """Neighbours that are skipped for the same reason, a line each."""
    runs = [(why, list(run)) for why, run in groupby(skipped, lambda one: one.why)]
    for why, run in runs[:_SHOWN_RUNS]:
        to = f" to {run[-1].key.cidr}, {formats.counted(len(run), 'block')}" if len(run) > 1 else ""
        yield f"  {run[0].key.cidr}{to}: {_WHY[why]}"
    if len(runs) > _SHOWN_RUNS:
        yield f"  and {sum(len(run) for _, run in runs[_SHOWN_RUNS:])} more"


def _next_as_json(subject: _Subject, answer: Next) -> dict[str, object]:
    return {
        **_subject_as_json(subject),
        "address": None if answer.address is None else text_of(answer.address),
        "lowest_free": None if answer.lowest is None else text_of(answer.lowest),
        "skipped": [
            {"block": one.key.name, "cidr": str(one.key.cidr), "why": one.why} for one in answer.skipped
        ],
    }
