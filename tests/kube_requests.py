"""Counting and disturbing the requests of one store."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whereabouts.deadline import Deadline
from whereabouts.stores.kube_api import ApiClient, Request
from whereabouts.stores.kubernetes import KubernetesStore


class Recorded(list[str]):
    """Requests in order, as ``GET addressblocks/10.0.0.0``; a list has no name behind it."""

    @property
    def lists(self) -> list[str]:
        return [request for request in self if request.startswith("GET") and "/" not in request]


def short(request: Request) -> str:
    _, _, tail = request.path.partition("/namespaces/")
    return f"{request.method} {tail.partition('/')[2]}"


@contextmanager
def recorded(
    store: KubernetesStore, before: Callable[[Request], None] = lambda _: None
) -> Iterator[Recorded]:
    """Note every request of the store; ``before`` is called ahead of each."""
    api, requests = store.resources.api, Recorded()
    original = ApiClient.fetch

    def fetch(request: Request, deadline: Deadline) -> bytes:
        requests.append(short(request))
        before(request)
        return original(api, request, deadline)

    api.fetch = fetch  # type: ignore[method-assign]
    try:
        yield requests
    finally:
        del api.fetch
