"""The console script ``kubectl-whereabouts``, which kubectl runs as ``kubectl whereabouts``."""

import sys


def main() -> None:
    """Run a command on the cluster that kubectl's user works with."""
    from whereabouts.cli import main as command_line

    sys.exit(command_line(kubectl=True))
