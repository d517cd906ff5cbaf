"""What is told of definitions and slices: once, and under the names of the objects that it is about."""

from whereabouts.controller.complaints import Complaints
from whereabouts.controller.slicing import Sliced
from whereabouts.log import SILENT
from whereabouts.stores.kube_events import Event
from whereabouts.stores.kube_objects import object_name

NETWORK = "Blue_Net"


def test_nodes_without_slice_are_told_once_of_the_object_that_the_pool_is() -> None:
    told: list[Event] = []
    complaints = Complaints(told.append, "kube-system", SILENT)
    sliced = Sliced([], {NETWORK: ["node-1"]}, {}, [], {})
    complaints.about(sliced)
    complaints.about(sliced)
    (event,) = told
    assert (event.regarding.name, event.regarding.namespace) == (object_name(NETWORK), "kube-system")
    assert event.regarding.name != NETWORK
    assert "node-1" in event.message
