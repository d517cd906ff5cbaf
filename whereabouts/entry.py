"""The console script: a CNI plugin when a runtime calls it, else a command line."""

import os
import sys


def main() -> None:
    """Run as what the environment asks for, and exit with its status."""
    if "CNI_COMMAND" in os.environ:
        from whereabouts.plugin import main as run
    else:
        from whereabouts.cli import main as run
    sys.exit(run())
