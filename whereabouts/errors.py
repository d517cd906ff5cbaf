"""The root of every exception that this package raises on purpose."""


class WhereaboutsError(Exception):
    """Something a person can act upon; ``str()`` of it is the whole sentence they read."""
