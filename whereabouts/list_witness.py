"""A list of attachments as the one who knows which of them live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from whereabouts.collect import Listing
from whereabouts.deadline import Deadline
from whereabouts.findings import Record
from whereabouts.inspection import Suspect

NOT_LISTED = "the list of valid attachments does not have its container and interface"


class ListWitness:
    """A runtime's list of the attachments that are valid, as it gives it to GC (CNI SPEC 1.1)."""

    def __init__(self, listing: Listing) -> None:
        """Believe ``listing``, where it speaks of a record."""
        self._listing = listing

    def suspects(self, records: Sequence[Record], deadline: Deadline) -> Mapping[Record, Suspect]:
        """See :class:`~whereabouts.inspection.Witness`. The list is all that there is, so nobody is asked."""
        suspect = Suspect("leak", NOT_LISTED, 0.0)
        return {record: suspect for record in records if self._listing.misses(record.owner)}
