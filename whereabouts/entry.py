"""The console script: a CNI plugin when a runtime calls it, else a command line."""

import gc
import os
import sys


def main() -> None:
    """Run as what the environment asks for, and exit with its status."""
    if not os.environ.get("CNI_COMMAND"):  # empty counts as unset, as in the CNI library
        from whereabouts.cli import main as command_line

        sys.exit(command_line())
    gc.disable()  # a call is over before there is anything worth collecting
    from whereabouts.plugin import main as plugin

    os._exit(plugin())  # the answer is written: taking the interpreter down takes longer than an allocation
