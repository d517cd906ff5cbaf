"""Which faults strike in a round, when, and for how long: the same for the same seed."""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from .fault import Fault

MOST_FAULTS = 6
"""Faults that strike in one round."""


class Stroke(NamedTuple):
    """A fault at work, in seconds from the round's beginning."""

    begins: float
    ends: float
    fault: Fault


def draw(faults: Sequence[Fault], seconds: float, longest: float, random: Random) -> list[Stroke]:
    """Strokes in a round of so many seconds, by their beginning: some of each fault that was chosen.

    Each fault has an end before it strikes again; different ones overlap. Those that hold for longer than
    the round make it longer; none does for more than ``longest`` seconds.
    """
    able = [fault for fault in faults if fault.seconds[0] <= longest]
    most = min(len(able), MOST_FAULTS)
    number = random.randint(min(2, most), most)
    chosen = sorted(able, key=lambda fault: random.random() ** (1 / fault.weight), reverse=True)[:number]
    strokes = [stroke for fault in chosen for stroke in _strokes(fault, seconds, longest, random)]
    return sorted(strokes, key=lambda stroke: stroke.begins)


def _strokes(fault: Fault, seconds: float, longest: float, random: Random) -> list[Stroke]:
    least, most = fault.seconds
    strokes = []
    at = random.uniform(0.0, 0.5 * seconds)
    while at < 0.85 * seconds:
        ends = at + random.uniform(least, min(most, longest))
        strokes.append(Stroke(at, ends, fault))
        at = ends + random.uniform(0.0, 0.5 * seconds)
    return strokes
