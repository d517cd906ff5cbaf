"""ADD, DEL, CHECK and GC in any order over ranges that overlap, against a model that only counts."""

import tempfile
from ipaddress import ip_address, ip_network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from whereabouts.addresses import Address
from whereabouts.allocator import Allocator, Demand, RangeFull
from whereabouts.collect import Listing, collect
from whereabouts.commit import DirectCommitter
from whereabouts.deadline import Deadline
from whereabouts.log import SILENT
from whereabouts.owners import Owner
from whereabouts.ranges import Range
from whereabouts.stores.sqlite import SqliteStore
from whereabouts.usage import range_uses
from whereabouts.verify import CheckFailed, RangeExhausted, check, status

from .store_contract import SOON, attachment, pod

Options = tuple[tuple[str, object], ...]
Piece = tuple[str, Options]

PIECES: list[Piece] = [
    ("10.0.0.248/28", ()),
    ("10.0.0.0/22", (("start", "10.0.0.250"), ("end", "10.0.1.5"))),
    (
        "10.0.0.0/22",
        (("start", "10.0.0.253"), ("end", "10.0.1.3"), ("excludes", ("10.0.1.1", "10.0.0.254/31"))),
    ),
    ("10.0.0.254/30", (("enable_l3", True),)),
    ("10.0.0.254-10.0.1.2/23", (("allow_dot_zero", True),)),
    ("fd00::/126", ()),
    ("fd00::/120", (("excludes", ("fd00::1", "fd00::4/126")), ("end", "fd00::9"))),
    ("fd00::ffff:fffe/127", (("enable_l3", True),)),
]
DEMANDS = [
    (PIECES[0],),
    (PIECES[1],),
    (PIECES[2],),
    (PIECES[3], PIECES[6]),
    (PIECES[4],),
    (PIECES[5], PIECES[1]),
    (PIECES[7], PIECES[3]),
]

demands = st.builds(
    lambda pieces, name: (name, pieces), st.sampled_from(DEMANDS), st.sampled_from(["", "blue"])
)
owners = st.builds(
    pod,
    st.integers(0, 11),
    ifname=st.sampled_from(["net1", "net2"]),
    sandbox=st.sampled_from(["a", "b"]),
    node=st.sampled_from(["node-1", "node-2"]),
)


def network_of(piece: Piece) -> str:
    text = piece[0].rpartition("-")[2]
    return str(ip_network(text, strict=False))


def candidates(piece: Piece) -> list[Address]:
    """Every address that may be given, by walking the network as the Go plugin does."""
    text, options = piece
    given = dict(options)
    left, dash, right = text.rpartition("-")
    network = ip_network(right if dash else text, strict=False)
    first, last = int(network[0]), int(network[-1])
    if not given.get("enable_l3"):
        first, last = first + 1, last - 1
    start = left if dash else given.get("start")
    end = right.partition("/")[0] if dash else given.get("end")
    if start and first <= int(ip_address(str(start))) <= last:
        first = int(ip_address(str(start)))
    if end and first <= int(ip_address(str(end))) <= last:
        last = int(ip_address(str(end)))
    barred = [ip_network(exclude) for exclude in given.get("excludes", ())]  # type: ignore[attr-defined]
    walk = [network[value - int(network[0])] for value in range(first, last + 1)]
    return [
        address
        for address in walk
        if not any(address in exclude for exclude in barred)
        and (address.version == 6 or given.get("allow_dot_zero") or address.packed[-1] != 0)
    ]


CANDIDATES = {piece: candidates(piece) for piece in PIECES}


class Model(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.store = SqliteStore(f"{self.directory.name}/w.db", Deadline(SOON))
        self.store._connection.execute("PRAGMA synchronous = OFF")
        self.allocator = Allocator(self.store, DirectCommitter(self.store), SILENT)
        self.records: dict[tuple[str, Address], Owner] = {}

    def teardown(self) -> None:
        self.store.close()
        self.directory.cleanup()

    def demand(self, name: str, pieces: tuple[Piece, ...]) -> Demand:
        ranges = [Range.parse(text, **dict(options)) for text, options in pieces]  # type: ignore[arg-type]
        return Demand(name, True, ranges)

    def expected(self, name: str, pieces: tuple[Piece, ...], owner: Owner) -> list[Address] | None:
        """What an ADD must give; None where a range is full. Records it."""
        records = dict(self.records)
        given: list[Address] = []
        for piece in pieces:
            mine = owner._replace(range=network_of(piece))
            held = [
                address
                for (space, address), record in records.items()
                if space == name
                and (record.pod_ref, record.ifname, record.range) == (mine.pod_ref, mine.ifname, mine.range)
            ]
            free = [address for address in CANDIDATES[piece] if (name, address) not in records]
            if held:
                address = min(held)
            elif free:
                address = free[0]
            else:
                self.records.update({key: value for key, value in records.items() if key in self.records})
                return None
            if not held or records[name, address].container_id != mine.container_id:
                records[name, address] = mine
            given.append(address)
        self.records = records
        return given

    @rule(wanted=demands, owner=owners)
    def add(self, wanted: tuple[str, tuple[Piece, ...]], owner: Owner) -> None:
        expected = self.expected(*wanted, owner)
        try:
            given = self.allocator.add(self.demand(*wanted), owner, Deadline(SOON))
        except RangeFull:
            assert expected is None
        else:
            assert given == expected
            check(self.store, self.demand(*wanted), owner.container_id, owner.ifname, given, Deadline(SOON))

    @rule(wanted=demands, owner=owners, network=st.sampled_from(["macvlan", "other"]))
    def delete(self, wanted: tuple[str, tuple[Piece, ...]], owner: Owner, network: str) -> None:
        networks = [ip_network(network_of(piece)) for piece in wanted[1]]
        gone = {
            key
            for key, record in self.records.items()
            if record.belongs_to(owner.container_id, owner.ifname)
            and (record.network == network or any(key[1] in one for one in networks))
        }
        freed = self.allocator.delete(
            self.demand(*wanted), attachment(owner._replace(network=network)), [], Deadline(SOON)
        )
        assert set(freed) == {(address, self.records[space, address]) for space, address in gone}
        for key in gone:
            del self.records[key]

    @rule(node=st.sampled_from(["node-1", "node-2"]), keep=st.sets(st.integers(0, 11)))
    def gc(self, node: str, keep: set[int]) -> None:
        valid = {(pod(n, sandbox=s).container_id, i) for n in keep for s in "ab" for i in ("net1", "net2")}
        collect(self.store, self.allocator, Listing(valid, node, "macvlan"), Deadline(SOON))
        self.records = {
            key: record
            for key, record in self.records.items()
            if record.node != node or (record.container_id, record.ifname) in valid
        }

    @rule(wanted=demands)
    def status(self, wanted: tuple[str, tuple[Piece, ...]]) -> None:
        name, pieces = wanted
        room = all(
            any((name, address) not in self.records for address in CANDIDATES[piece]) for piece in pieces
        )
        try:
            status(self.store, self.demand(*wanted), Deadline(SOON))
        except RangeExhausted:
            assert not room
        else:
            assert room

    @rule(wanted=demands, owner=owners)
    def check_of_nothing(self, wanted: tuple[str, tuple[Piece, ...]], owner: Owner) -> None:
        if any(record.belongs_to(owner.container_id, owner.ifname) for record in self.records.values()):
            return
        try:
            check(self.store, self.demand(*wanted), owner.container_id, owner.ifname, [], Deadline(SOON))
        except CheckFailed:
            return
        raise AssertionError("an attachment without a record passed CHECK")

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        stored = {
            (block.key.space.network_name, block.key.address(offset)): owner
            for block in self.store.blocks(Deadline(SOON))
            for offset, owner in block.trusted()
        }
        assert stored == self.records

    @invariant()
    def usage_counts_every_record_once_a_range(self) -> None:
        by_owner = range_uses(self.store, Deadline(SOON), nodes=True)
        by_bitmap = range_uses(self.store, Deadline(SOON))
        assert [(use.pool.key, *use[1:5]) for use in by_owner] == [
            (use.pool.key, *use[1:5]) for use in by_bitmap
        ]
        for use in by_bitmap:
            network_name, text = use.pool.key[:2]
            inside = [a for name, a in self.records if name == network_name and a in ip_network(text)]
            assert use.used == min(len(inside), use.capacity)


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase
