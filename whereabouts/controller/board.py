"""Where the controller's work writes what the status page shows, and those who ask read it.

Nobody's question makes work by itself: it only tells that somebody looks. The working thread then looks at
the datastore, not more often than :data:`FRESH_SECONDS`, and less often where a look takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition
from time import monotonic, time

from whereabouts.audit import Audit
from whereabouts.controller.slicing import Sliced
from whereabouts.controller.status_facts import AuditRun, Collected, Status
from whereabouts.controller.status_view import Configured, Suspected, read_view
from whereabouts.deadline import Deadline
from whereabouts.errors import WhereaboutsError
from whereabouts.store import Store

FRESH_SECONDS = 10.0
"""A look at the datastore is shown for so long before there is another."""
REST = 10
"""After a look that took long: so many times as long."""
WAIT_SECONDS = 3.0
"""The longest that a question waits for a look; then it is told what is known."""
MOST_AUDITS = 10


class Board:
    """What a process knows. Any thread may ask; all else is for the controller's work."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        """Nothing is known, and no work is done. ``clock`` gives seconds, from any point on."""
        self._clock = clock
        self._changed = Condition()
        self._status = Status()
        self._configured = Configured({}, known=False)
        self._working = self._asked = False
        self._rests_until = 0.0

    # ------------------------------------------------------------------- asking

    def status(self) -> Status:
        """What is known; the same object as long as nothing changes."""
        with self._changed:
            if self._working and self._clock() >= self._rests_until:
                self._asked = True
                self._changed.wait_for(lambda: not self._asked, WAIT_SECONDS)
            return self._status

    # --------------------------------------------------------------- the work

    def begin(self) -> None:
        """The work of the controller begins in this process."""
        with self._changed:
            self._working, self._rests_until = True, self._clock()

    def end(self) -> None:
        """It has ended: what is known is forgotten, since another process knows better."""
        with self._changed:
            self._working = self._asked = False
            self._status = Status()
            self._configured = Configured({}, known=False)
            self._changed.notify_all()

    def due(self) -> bool:
        """Whether somebody waits for a look."""
        return self._asked

    def look(self, store: Store, suspected: Suspected, deadline: Deadline) -> None:
        """Look at the datastore. Raises what it raises, which is shown as well."""
        begun = self._clock()
        try:
            view = read_view(store, self._configured, suspected, deadline)
            self._tell(view=view, view_fault="")
        except WhereaboutsError as error:
            self._tell(view_fault=str(error))
            raise
        finally:
            with self._changed:
                now = self._clock()
                self._rests_until = now + max(FRESH_SECONDS, REST * (now - begun))
                self._asked = False
                self._changed.notify_all()

    def audited(self, audit: Audit, seconds: float) -> None:
        """An audit came to its end."""
        self._add(
            AuditRun(
                time(),
                seconds,
                audit.blocks,
                audit.records,
                audit.freed,
                audit.suspects,
                audit.waiting_for_operator,
                audit.failures,
            )
        )

    def audit_failed(self, error: WhereaboutsError, seconds: float) -> None:
        """An audit came to nothing."""
        self._add(AuditRun(time(), seconds, 0, 0, 0, 0, 0, (str(error),)))

    def sliced(self, sliced: Sliced) -> None:
        """Definitions and slices were looked at."""
        faults, without, failures = map(Collected, ("bad-definition", "node-without-slice", "failure"))
        for definition, fault in sliced.faults.items():
            faults.add(definition, fault)
        for pool, nodes in sliced.without.items():
            for node in nodes:
                without.add(node, f"has no slice of NodeSlicePool {pool}")
        for failure in sliced.failures:
            failures.add("node slices", failure)
        problems = [problem for one in (faults, without, failures) for problem in one.problems()]
        self._configured = Configured(sliced.configured, known=not sliced.faults)
        self._tell(slices=tuple(sliced.pools), slicing=problems)

    def _add(self, run: AuditRun) -> None:
        runs: Sequence[AuditRun] = (run, *self._status.audits)
        self._tell(audits=tuple(runs[:MOST_AUDITS]))

    def _tell(self, **changes: object) -> None:
        with self._changed:
            self._status = self._status._replace(**changes)  # type: ignore[arg-type]
