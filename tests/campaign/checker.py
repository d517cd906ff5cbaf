"""What must hold whatever struck, told from the journal of calls and from what the store has recorded.

Nothing of the product is believed here but its answers, which are what is judged.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from math import inf
from typing import NamedTuple

from .calls import NATIVE
from .journal import ADD, DELETE, ENDS, Entry
from .networks import Span
from .world import Attachment, Record

GRACE_SECONDS = 2.0
"""Beyond its deadline, for the processes of a busy machine to start and end."""
TRY_AGAIN, WHEREABOUTS = 11, 999
FULL = "Could not allocate IP in range"


class Violation(NamedTuple):
    """Something that must not be."""

    kind: str
    """``given twice``, ``lost``, ``left over``, ``late``, ``no CNI answer``, ``wrong answer``, ``not
    lowest``, ``changed``, ``damage``, ``stuck`` or ``crashed``."""
    sentence: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.sentence}"


class Hold(NamedTuple):
    """An interface that uses an address, from the answer to its ADD until the runtime ends it."""

    attachment: Attachment
    address: str
    begun: float
    ended: float
    """Infinite where it still does."""


def of_calls(entries: Sequence[Entry], *, forgetful: bool = False) -> list[Violation]:
    """All that the calls show by themselves; ``forgetful`` as a world says it."""
    return [*_of_answers(entries), *_changed(entries, forgetful), *_given_twice(holds(entries))]


# ------------------------------------------------------------------------- answers


def _of_answers(entries: Iterable[Entry]) -> Iterator[Violation]:
    for entry in entries:
        if entry.command == ENDS or entry.killed:
            continue
        took = entry.ended - entry.begun
        if took > entry.deadline + GRACE_SECONDS:
            yield Violation("late", f"{told(entry)} took {took:.1f} s, {entry.deadline:g} s are its deadline")
            continue
        why = _not_cni(entry)
        if why:
            yield Violation("no CNI answer", f"{told(entry)}: {why}: {entry.stdout!r} {entry.stderr!r}")
        elif not _may_be(entry):
            yield Violation("wrong answer", f"{told(entry)}: {entry.stdout!r}")


def _not_cni(entry: Entry) -> str:
    """Why status and output are no answer (CNI SPEC, sections 2 and 5); empty where they are one."""
    if "Traceback" in entry.stderr:
        return "a traceback on stderr"
    if entry.status == 0 and entry.command != ADD:
        return "something on stdout" if entry.stdout else ""
    if entry.status not in (0, 1):
        return f"exit status {entry.status}"
    try:
        answer = json.loads(entry.stdout)
    except ValueError:
        return "no JSON"
    if not isinstance(answer, dict):
        return "no object"
    return _no_result(entry) if entry.status == 0 else _no_error(answer)


def _no_result(entry: Entry) -> str:
    try:
        addresses = entry.addresses()
    except ValueError as error:
        return str(error)
    return "" if len(addresses) == entry.ranges else f"{len(addresses)} addresses of {entry.ranges} ranges"


def _no_error(answer: Mapping[str, object]) -> str:
    if type(answer.get("code")) is not int or not isinstance(answer.get("msg"), str):
        return "an error without code and msg"
    unknown = answer.keys() - {"cniVersion", "code", "msg", "details"}
    return f"an error with {', '.join(unknown)}" if unknown else ""


def _may_be(entry: Entry) -> bool:
    """Whether an error is one that the faults excuse: try again, and that a range is full.

    Every call is well formed, and CHECK is of interfaces that have their addresses.
    """
    if entry.status == 0:
        return True
    code = json.loads(entry.stdout)["code"]
    full = entry.command == ADD and code == WHEREABOUTS and FULL in entry.stdout
    return code == TRY_AGAIN or full


def told(entry: Entry) -> str:
    """A call in a few words."""
    one = entry.attachment
    what = f" {one.pod} {one.ifname} of {one.container_id}" if one.pod else ""
    return f"{entry.command}{what} in {one.network} on {one.node} ({entry.program}) at {entry.begun:.3f}"


# --------------------------------------------------------------------------- holds


def holds(entries: Iterable[Entry]) -> list[Hold]:
    """Who used which address, and when.

    From the end of an ADD that succeeded until the sandbox ends or its first DEL begins.
    """
    done: list[Hold] = []
    held: dict[Attachment, list[Hold]] = {}
    for entry in sorted(entries, key=lambda entry: entry.begun):
        one = entry.attachment
        if entry.command in (ENDS, DELETE):
            done += [hold._replace(ended=entry.begun) for hold in held.pop(one, ())]
        elif entry.command == ADD and entry.succeeded and one not in held:
            with suppress(ValueError):
                held[one] = [Hold(one, address, entry.ended, inf) for address in entry.addresses()]
    return done + [hold for group in held.values() for hold in group]


def alive(held: Iterable[Hold]) -> list[Hold]:
    """Those that still are."""
    return [hold for hold in held if hold.ended == inf]


def _given_twice(held: Iterable[Hold]) -> Iterator[Violation]:
    by_address: dict[str, list[Hold]] = defaultdict(list)
    for hold in held:
        by_address[hold.address].append(hold)
    for address, group in by_address.items():
        group.sort(key=lambda hold: hold.begun)
        last = group[0]
        for hold in group[1:]:
            if hold.begun < last.ended:
                sentence = f"{address} was held by {_whose(last)}, and given to {_whose(hold)}"
                yield Violation("given twice", sentence)
            last = max(last, hold, key=lambda one: one.ended)


def _changed(entries: Iterable[Entry], forgetful: bool) -> Iterator[Violation]:
    """ADDs that were repeated while the interface had addresses, and gave others."""
    had: dict[Attachment, tuple[Entry, list[str]]] = {}
    for entry in sorted(entries, key=lambda entry: entry.begun):
        one = entry.attachment
        if entry.command in (ENDS, DELETE):
            had.pop(one, None)
        elif entry.command == ADD and entry.succeeded:
            with suppress(ValueError):
                addresses = entry.addresses()
                first, before = had.setdefault(one, (entry, addresses))
                if before != addresses and (not forgetful or _by_one_agent(first, entry)):
                    yield Violation("changed", f"{told(entry)} gave {addresses} after {before}")


def _by_one_agent(first: Entry, second: Entry) -> bool:
    """Whether one process served both calls."""
    return first.program == second.program == NATIVE and first.agents[0] == second.agents[1]


def _whose(hold: Hold) -> str:
    one = hold.attachment
    until = "now" if hold.ended == inf else f"{hold.ended:.3f}"
    return (
        f"{one.pod} {one.ifname} of {one.container_id} in {one.network} on {one.node}"
        f" from {hold.begun:.3f} until {until}"
    )


# ------------------------------------------------------------------------- records


def of_lost(held: Iterable[Hold], records: Collection[Record]) -> Iterator[Violation]:
    """Addresses that are held, and not recorded for who holds them."""
    by_address = {record.address: record for record in records}
    for hold in held:
        record, one = by_address.get(hold.address), hold.attachment
        if record is None:
            yield Violation("lost", f"{hold.address} is not recorded, and held by {_whose(hold)}")
        elif record != Record(hold.address, one.pod, one.container_id, one.ifname):
            yield Violation("lost", f"{hold.address} is recorded as {record}, and held by {_whose(hold)}")


def of_leftovers(held: Iterable[Hold], records: Collection[Record]) -> Iterator[Violation]:
    """Records of nobody, and several of one address: there is none after a repair pass."""
    addresses = {hold.address for hold in held}
    for record in records:
        if record.address not in addresses:
            yield Violation("left over", f"{record} is still recorded after the repair pass")
    for one, other in pairwise(sorted(records)):
        if one.address == other.address:
            yield Violation("given twice", f"{one} and {other} are recorded")


# --------------------------------------------------------------------------- order


def of_quiet_add(entry: Entry, spans: Sequence[Span], records: Iterable[Record]) -> Iterator[Violation]:
    """An ADD beside which nothing happened, after ``records`` had been read: it gives the lowest."""
    used = {record.address for record in records}
    lowest = [span.lowest_free(used) for span in spans]
    if None in lowest:
        if not (entry.status == 1 and FULL in entry.stdout):
            yield Violation("not lowest", f"{told(entry)} is not told that nothing is free: {entry.stdout!r}")
    elif not entry.succeeded:
        yield Violation(
            "wrong answer", f"{told(entry)}, when all was quiet: {entry.stdout!r} {entry.stderr!r}"
        )
    else:
        with suppress(ValueError):  # it was complained about
            if entry.addresses() != lowest:
                yield Violation("not lowest", f"{told(entry)} gave {entry.addresses()}, not {lowest}")


def of_filling(
    given: Sequence[Entry], span: Span, records: Iterable[Record], *, in_order: bool = True
) -> Iterator[Violation]:
    """ADDs beside which nothing else happened, until one failed: the range was full then, and no sooner."""
    used = {record.address for record in records}
    free = [address for address in span.usable() if address not in used]
    got = [address for entry in given if entry.succeeded for address in entry.addresses()]
    if sorted(got) != sorted(free):
        missed, twice = set(free) - set(got), len(got) - len(set(got))
        sentence = (
            f"{len(got)} addresses of {span.text} were given, {len(free)} were free; left out: {missed}"
        )
        yield Violation("not lowest", sentence + (f"; {twice} were given twice" if twice else ""))
    elif in_order and got != free:
        yield Violation("not lowest", f"{span.text} was filled in the order {got}")
