"""What can go wrong while the plugin is put on a host."""

from whereabouts.errors import WhereaboutsError


class InstallError(WhereaboutsError):
    """A step that failed, and what to do about it. Never holds a secret."""


class CredentialsError(InstallError):
    """A service account whose files are there, but hold nothing that could be used (yet)."""
