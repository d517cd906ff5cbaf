"""Who can say whether a record's pod or container lives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.inspection import Suspect


class ValidAttachments:
    """A runtime's list of the attachments that are valid, as it gives it to GC (CNI SPEC 1.1)."""

    def __init__(
        self, valid: Collection[tuple[str, str]], *, node: str | None = None, network: str | None = None
    ) -> None:
        """``valid`` has (container ID, interface name).

        It speaks of ``node`` and of the CNI network ``network`` only, where they are given.
        """
        self._valid = frozenset(valid)
        self._containers = {container_id for container_id, _ in self._valid}
        self._node = node
        self._network = network

    def suspects(self, records: Sequence[Record], deadline: Deadline) -> Mapping[Record, Suspect]:
        """See :class:`~whereabouts.inspection.Witness`. The list is all that there is, so nobody is asked."""
        reason = "the list of valid attachments does not have its container and interface"
        return {
            record: Suspect("leak", reason, 0.0)
            for record in records
            if self._speaks_of(record) and not self._has(record)
        }

    def _speaks_of(self, record: Record) -> bool:
        owner = record.owner
        return (
            bool(owner.pod_ref)
            and self._node in (None, owner.node)
            and self._network in (None, owner.network)
        )

    def _has(self, record: Record) -> bool:
        owner = record.owner
        if owner.ifname:
            return (owner.container_id, owner.ifname) in self._valid
        return owner.container_id in self._containers
