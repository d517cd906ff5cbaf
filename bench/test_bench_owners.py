"""Packing and unpacking the owners of a block: what every ADD and DEL does to the whole block."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.test_owners import pods_of_a_cluster, typical
from whereabouts.owners import Owner, pack, unpack

BLOCKS = {"pods of one deployment": typical(240), "pods of sixty deployments": pods_of_a_cluster(240)}

pytestmark = pytest.mark.benchmark(max_time=0.5)


@pytest.mark.parametrize("owners", BLOCKS.values(), ids=BLOCKS)
def test_pack(benchmark: BenchmarkFixture, owners: list[Owner]) -> None:
    benchmark.extra_info["bytes"] = len(benchmark(pack, owners))


@pytest.mark.parametrize("owners", BLOCKS.values(), ids=BLOCKS)
def test_unpack(benchmark: BenchmarkFixture, owners: list[Owner]) -> None:
    assert benchmark(unpack, pack(owners)) == owners
