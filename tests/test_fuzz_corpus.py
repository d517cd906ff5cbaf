"""The inputs that are kept for the fuzzers keep their promises under every Python, without a fuzzer."""

import json
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz.json_mutation import mutator
from fuzz.reader import Reader
from fuzz.target import CORPUS, corpus, load, names
from fuzz.targets import sizes

_CONFIG, _LIST = b'{"ipam": {"range": "10.0.0.0/8", "exclude": ["10.1.0.0/16"]}}', b"[1, true, null]"
INPUTS = [(name, path) for name in names() for path in corpus(name)]


@pytest.fixture(autouse=True)
def _smaller_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a fuzzer tries in full takes a minute."""
    monkeypatch.setattr(sizes, "MOST", 1 << 14)
    monkeypatch.setattr(sizes, "SECONDS", 0.05)


def test_every_target_has_inputs_and_every_input_a_target() -> None:
    assert {name for name, _ in INPUTS} == set(names())
    assert {path.name for path in CORPUS.iterdir()} == set(names())


@pytest.mark.parametrize("name", names())
def test_what_is_usual_breaks_no_promise(name: str) -> None:
    target = load(name)
    for seed in target.seeds:
        assert len(seed) <= target.largest
        target.check(seed)


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=[f"{name}-{path.name[:8]}" for name, path in INPUTS])
def test_an_input_that_is_kept_breaks_no_promise(name: str, path: Path) -> None:
    load(name).check(path.read_bytes())


@pytest.mark.parametrize("name", names())
def test_no_input_at_all_breaks_no_promise(name: str) -> None:
    load(name).check(b"")


def test_a_mutation_of_json_is_json_in_its_old_place_and_can_be_repeated() -> None:
    mutate = mutator(("range", "10.0.0.0/24"))
    data = b"A=1\n\n" + _CONFIG + b"\0" + _LIST + b"\0not JSON"
    results = [mutate(data, Random(seed)) for seed in range(300)]
    assert results == [mutate(data, Random(seed)) for seed in range(300)]
    assert len(set(results)) > 150
    for result in results:
        assert result is not None
        head, listed, rest = result.split(b"\0")
        variables, _, config = head.partition(b"\n\n")
        assert (variables, rest) == (b"A=1", b"not JSON")
        json.loads(config)
        json.loads(listed)
    assert mutate(b"not JSON\0\n\n", Random(1)) is None


def test_a_reader_reads_an_input_from_front_to_end_and_then_zeros() -> None:
    reader = Reader(b"\x02\x01\x03abcd\xff")
    assert reader.below(256) == 2
    assert reader.flag()
    assert reader.piece() == b"abc"
    assert reader.below(1 << 16) == int.from_bytes(b"d\xff", "little")
    assert not reader
    assert (reader.below(10), reader.text(), reader.one_of("xyz"), reader.rest()) == (0, "", "x", b"")


def test_atheris_is_not_needed_to_run_the_inputs() -> None:
    assert "atheris" not in sys.modules
