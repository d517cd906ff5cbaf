"""Commands of the documents do what the documents say, or are marked with what they need."""

import argparse
import doctest
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.console_blocks import FAILS, NEEDS, run, steps, words
from tests.documents import PAGES, ROOT, blocks, name_of, without_blocks
from whereabouts.cli import _parser

PROGRAMS = {
    *("apt-get", "curl", "docker", "etcdctl", "etcdutl", "git", "helm", "kind", "kubectl"),
    *("make", "pip", "promtool", "python", "python3", "whereabouts"),
}
"""With one of these a line of code begins that is a command."""

RUNNABLE = {
    page: [block for block in blocks(page) if block.language == "console" and not words(block) & NEEDS.keys()]
    for page in PAGES
}
NAMED = re.compile(r"`whereabouts (?P<command>[a-z]+)(?P<rest>[^`]*)`")


@pytest.mark.parametrize("page", [page for page, found in RUNNABLE.items() if found], ids=name_of)
def test_commands_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    wanted = [step for block in RUNNABLE[page] for step in steps(block)]
    checker = doctest.OutputChecker()
    for step, (output, status) in zip(wanted, run([one.command for one in wanted], tmp_path), strict=True):
        assert status is not None, f"{step.where}: the shell ended before this command\n{output}"
        example = doctest.Example(step.command, step.output)
        if not checker.check_output(step.output, output, doctest.ELLIPSIS):
            difference = checker.output_difference(example, output, doctest.ELLIPSIS | doctest.REPORT_NDIFF)
            pytest.fail(f"{step.where}: $ {step.command}\n{difference}")
        assert (status != 0) == step.fails, f"{step.where}: exit status {status}\n{output}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_words_of_console_blocks_are_known_and_their_commands_can_be_told_from_output(page: Path) -> None:
    for block in blocks(page):
        if block.language == "console":
            assert words(block) <= {FAILS, *NEEDS}, block.where
            assert steps(block), block.where


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_command_goes_on_only_behind_a_backslash(page: Path) -> None:
    """Or the site takes the rest for output, which is not copied with it; see docs/_static/console.css."""
    for block in blocks(page):
        for before, line in pairwise(block.text.splitlines() if block.language == "console" else []):
            assert not line.startswith("> ") or before.endswith("\\"), f"{block.where}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_console_blocks(page: Path) -> None:
    stray = [f"{where}: {line}" for where, line in _code_elsewhere(page) if line.split()[0] in PROGRAMS]
    assert stray == []


def _code_elsewhere(page: Path) -> Iterator[tuple[str, str]]:
    """Lines of code that are in no console block: of other fences, and indented ones."""
    for block in blocks(page):
        if block.language in ("", "text", "sh", "bash", "shell"):
            for number, line in enumerate(block.text.splitlines(), block.line):
                if line.strip():
                    yield f"{name_of(page)}:{number}", line.removeprefix("$ ").strip()
    for number, line in enumerate(without_blocks(page).splitlines(), 1):
        if line.startswith("    ") and line.strip():
            yield f"{name_of(page)}:{number}", line.strip()


def test_make_run_is_the_tour() -> None:
    """Which is what is run for it here: the rest of make has been done by whoever runs this test."""
    recipe = re.search(r"^run:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    assert recipe[1] == "\t$(BIN)/python examples/tour.py\n"


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    }


COMMANDS = _commands(_parser())


def _invocations(page: Path) -> Iterator[tuple[str, str]]:
    """Each ``whereabouts COMMAND ...`` of a page, in its text and in its blocks, run here or not."""
    text = without_blocks(page)
    for found in NAMED.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield f"{name_of(page)}:{line}", found[0].strip("`")
    for block in blocks(page):
        if block.language == "console":
            for step in steps(block):
                for typed in re.findall(r"(?:^|[|;&] *|-- )(whereabouts [a-z][^|;&<>]*)", step.command):
                    yield step.where, typed


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_a_page_names_exist(page: Path) -> None:
    wrong = []
    for where, invocation in _invocations(page):
        _, name, *arguments = invocation.split()
        command = COMMANDS.get(name)
        options = {one.partition("=")[0] for one in arguments if one.startswith("-") and one != "-"}
        if command is None or options - command._option_string_actions.keys():
            wrong.append(f"{where}: {invocation}")
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "errors.md"], ids=name_of)
def test_make_targets_that_a_page_names_exist(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = page.read_text()
    named = {name for called in re.findall(r"(?:`|\$ )make ([a-z][a-z ]*)", text) for name in called.split()}
    assert named - set(targets) == set()
