"""What a fault of the campaign is: something that strikes a world, and that heals again."""

from random import Random
from typing import Protocol


class Fault(Protocol):
    """A fault. One thread strikes and heals all faults of a world; load runs in others meanwhile.

    A fault that has struck is healed before it strikes again. Different faults overlap, also on one node:
    what they do has to bear that the agent they meant was killed, or started anew, by another one.
    """

    @property
    def name(self) -> str:
        """A few words, as they stand in summaries: ``agent killed``. No other fault of the world has it."""

    @property
    def seconds(self) -> tuple[float, float]:
        """The shortest and the longest time from strike to heal; the schedule draws one between them."""

    @property
    def weight(self) -> float:
        """How often it is chosen, where 1.0 is usual. Faults that hold for minutes are rare ones."""

    def strike(self, random: Random) -> None:
        """Begin; whom it hits is drawn from ``random``. Quick: others strike after it."""

    def heal(self) -> None:
        """Bring everything back to what it was before, and return when it is.

        It is called at the end in any case, also if the fault never struck; then it does nothing.
        """
