"""The pages as a site: built strictly, complete without the net, and true to the code."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys

import pytest

from tests.pages import PAGES, ROOT


def headings(page):
    """What a viewer of the repository calls the headings of a page in links."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_are_headings(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text()):
        if "://" not in target:
            assert anchor in headings(page.parent / target if target else page), (target, anchor)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Strict: a page outside the navigation, or a link to nothing, ends the build."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return directory


def test_every_page_is_built_and_what_it_links_comes_along(site):
    for page in (ROOT / "docs").glob("*.md"):
        built = site / ("" if page.stem == "index" else page.stem) / "index.html"
        # What Markdown did not understand would be left as it was written.
        text = re.sub(r"<(code|pre|script).*?</\1>", "", built.read_text(), flags=re.DOTALL)
        assert not re.search(r"```|\]\(|\*\*", re.sub("<[^>]*>", "", text)), page.name
    copies = [path for path in (site / "repository").rglob("*") if path.is_file()]
    assert len(copies) >= 20
    for copy in copies:
        assert copy.read_bytes() == (ROOT / copy.relative_to(site / "repository")).read_bytes()


def test_no_page_fetches_anything_from_the_net(site):
    for page in site.rglob("*.html"):
        loaded = r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]+)"
        assert re.findall(loaded, page.read_text()) == [], page


def test_the_reference_of_options_is_what_the_code_says():
    generator = runpy.run_path(str(ROOT / "docs/generate_configuration.py"))
    written = (ROOT / "docs/configuration.md").read_text()
    assert generator["page"]() == written, "run `make reference`"
