"""A hook of mkdocs: files of the repository that a page links become part of the site.

A page says `[file](../tuned_examples/lsp-tiny.yaml)`, which a viewer of the repository follows. To
mkdocs nothing exists outside of docs/, so here the file is copied to `repository/tuned_examples/`
of the site, and the link leads there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
COPIES = "repository/"
LINK = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked. A link to nothing, or to a directory, is left for mkdocs to report."""
    pages = [page.content_string for page in files.documentation_pages()]
    for path in sorted({path for page in pages for path in LINK.findall(page)}):
        if (ROOT / path).is_file():
            copy = File.generated(config, COPIES + path, abs_src_path=str(ROOT / path))
            files.append(copy)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead the links to the copies."""
    return LINK.sub(COPIES + r"\1", markdown)
