"""A page of a list of pods, read for what tells whether they live, beside other ways to read it.

``bytes`` are the most that was allocated while the page was read.
"""

import json
import tracemalloc
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.cluster_double import pod
from whereabouts.cluster.parsing import pod_of
from whereabouts.cluster.reading import PAGE

PAGE_OF_PODS = json.dumps(
    {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "1"},
        "items": [pod(n) for n in range(PAGE)],
    },
    separators=(",", ":"),
).encode()


def only_what_is_needed() -> int:
    return sum(1 for _ in map(pod_of.read, pod_of.page(PAGE_OF_PODS).items))


def all_values() -> int:
    return len(json.loads(PAGE_OF_PODS)["items"])


def typed_models() -> int:
    client: Any = import_module("kubernetes.client")
    return len(client.ApiClient().deserialize(PAGE_OF_PODS.decode(), "V1PodList", "application/json").items)


READERS = {
    "whereabouts": only_what_is_needed,
    "json": all_values,
    "kubernetes": pytest.param(
        typed_models,
        marks=pytest.mark.skipif(find_spec("kubernetes") is None, reason="kubernetes is not installed"),
    ),
}


@pytest.mark.benchmark(group=f"a page of {PAGE} pods")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
def test_bench_a_page_of_pods(benchmark: BenchmarkFixture, read: Callable[[], int]) -> None:
    names = [name for name, reader in READERS.items() if read in (reader, *getattr(reader, "values", ()))]
    (benchmark.extra_info["entry"],) = names
    tracemalloc.start()
    assert read() == PAGE
    benchmark.extra_info["bytes"] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert benchmark(read) == PAGE
