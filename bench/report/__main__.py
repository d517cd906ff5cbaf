"""``python -m bench.report RESULTS``: write the page of results, its plots, and the README's few figures."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import glance
from .page import page
from .run import load

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all or, where what was given is no result, nothing; then the exit status is 1."""
    chosen = _parser().parse_args(arguments)
    try:
        write(chosen.results, chosen.root)
    except (OSError, ValueError) as error:
        print(f"bench.report: {error}", file=sys.stderr)
        return 1
    return 0


def write(results: Path, root: Path) -> None:
    """Make all texts, then write each file as a whole. Raises OSError and ValueError."""
    run = load(results)
    made = page(run, root / "build", root / "bench")
    images, readme = root / "docs/images", root / "README.md"
    introduced = glance.readme(readme.read_text(), run)
    images.mkdir(parents=True, exist_ok=True)
    for name, picture in made.pictures.items():
        _replace(images / name, picture)
    _replace(root / "docs/results.md", made.text)
    _replace(readme, introduced)
    for path in images.glob("results-*.svg"):
        if path.name not in made.pictures:
            path.unlink()


def _replace(path: Path, text: str) -> None:
    """So that nobody finds half a file."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    os.replace(new, path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("results", type=Path, help="what pytest --benchmark-json=FILE wrote")
    parser.add_argument("--root", type=Path, default=ROOT, help="of the checkout (default: this one)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
