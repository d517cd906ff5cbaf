"""What can be wrong with a configuration, and how it is told: as an error, or as a warning."""

from __future__ import annotations

from whereabouts.errors import WhereaboutsError


class ConfigError(WhereaboutsError, ValueError):
    """A configuration that cannot be served; the text names the key and the value."""


class NotOurs(ConfigError):
    """A configuration of another IPAM plugin, or of none."""


class Problems:
    """Decides what becomes of a mistake: it ends the loading, or it is written down and passed over.

    To give an address, everything that was asked for must be understood. To take one back, most of it
    does not matter, and a runtime that cannot delete a container helps nobody.
    """

    __slots__ = ("lenient", "warnings")

    def __init__(self, lenient: bool, warnings: list[str]) -> None:
        """``lenient``: mistakes become warnings, which are added to ``warnings``."""
        self.lenient = lenient
        self.warnings = warnings

    def strict(self) -> Problems:
        """The same, where no mistake is passed over."""
        return Problems(False, self.warnings)

    def report(self, problem: str) -> None:
        """Raise ConfigError with this text, or write it down."""
        if not self.lenient:
            raise ConfigError(problem)
        self.warnings.append(f"{problem} (ignored)")
