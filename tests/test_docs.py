"""The documentation is a site that builds, and its links lead somewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.documents import PAGES, ROOT, name_of, without_blocks

LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    done = subprocess.run([*command, ROOT / "docs", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Anchors(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.ids.add(named.get("id") or "")
        self.links += filter(None, [named.get("href"), named.get("src")])


@pytest.mark.docs
def test_site_builds_without_a_warning_and_links_of_every_page_resolve(site: Path) -> None:
    pages = {path.resolve(): Anchors(path) for path in site.rglob("*.html")}
    assert {path.stem for path in pages} >= {path.stem for path in PAGES if path.parent.name == "docs"}
    dead = [
        f"{path.relative_to(site.resolve())}: {link}"
        for path, page in pages.items()
        for link in page.links
        if not _resolves(path, link, pages)
    ]
    assert dead == []


def _resolves(page: Path, link: str, pages: dict[Path, Anchors]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True  # of another site
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.suffix != ".html" or not parts.fragment:
        return target.is_file()
    return target in pages and unquote(parts.fragment) in pages[target].ids


@pytest.mark.docs
def test_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    fetched = re.compile(r"""<(?:link|script|img)\b[^>]*\b(?:href|src)="(?:https?:)?//[^"]*""")
    assert [found[0] for page in site.rglob("*.html") for found in fetched.finditer(page.read_text())] == []


def _local_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(without_blocks(page)):
        if not urlsplit(link).scheme and not link.startswith("#"):
            yield link.partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_a_page_links_to_exist(page: Path) -> None:
    assert [link for link in _local_links(page) if not (page.parent / link).exists()] == []
