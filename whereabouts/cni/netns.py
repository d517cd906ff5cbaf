"""The rule that a plugin does not run inside the network namespace of the container it serves."""

from __future__ import annotations

from whereabouts.cni.errors import INVALID_NETNS, CniError


def check_netns(own: tuple[int, int], other: tuple[int, int] | None, override: bool) -> None:
    """Raise :class:`CniError` (code 8) if the container's network namespace is the plugin's own.

    Both are (device, inode) of the namespace files; ``other`` is None when the path of ``CNI_NETNS``
    is empty or does not exist, which is no mistake. ``override`` is the wish of ``CNI_NETNS_OVERRIDE``.
    To be asked before ADD and DEL do their work, so that a refused call leaves nothing behind.
    """
    if own == other and not override:
        msg = "plugin's netns and netns from CNI_NETNS should not be the same"
        raise CniError(INVALID_NETNS, msg)
