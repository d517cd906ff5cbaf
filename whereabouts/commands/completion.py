"""``whereabouts completion``: a script with which a shell completes commands, options and file names.

The script is static: completing starts no process. shtab (extra ``completion``) makes it from the parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from whereabouts.config import ConfigError

SHELLS = ("bash", "zsh", "fish")
_FILES = ("FILE", "KUBECONFIG", "PATH")
"""What options and arguments call a file."""
_HOW = """\
To use it now:
  bash: source <(whereabouts completion bash)
  zsh:  eval "$(whereabouts completion zsh)"       (after compinit)
  fish: whereabouts completion fish | source
For every shell, write it to:
  bash: /etc/bash_completion.d/whereabouts
  zsh:  _whereabouts in a folder of $fpath
  fish: ~/.config/fish/completions/whereabouts.fish
"""


def register(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], whole: argparse.ArgumentParser
) -> None:
    """Add the command, which completes what ``whole`` understands."""
    parser = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        epilog=_HOW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="for which shell")
    parser.set_defaults(run=run, whole=whole)


def run(chosen: argparse.Namespace) -> int:
    """Print the script. Raises ConfigError where shtab is missing."""
    shtab: Any
    try:
        shtab = import_module("shtab")
    except ImportError as error:
        raise ConfigError(
            "completion needs shtab, which is not installed: pip install 'whereabouts-ipam[completion]'"
        ) from error
    places = {"DIR": shtab.DIRECTORY, **dict.fromkeys(_FILES, shtab.FILE)}
    for action in _actions(chosen.whole):
        if action.metavar in places:
            action.complete = places[action.metavar]  # type: ignore[attr-defined]  # where shtab looks
    print(shtab.complete(chosen.whole, chosen.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
