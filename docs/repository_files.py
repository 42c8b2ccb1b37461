"""A hook for MkDocs: files of the repository that pages link to come along, so that a built site has no dead links.

Pages are written for the repository (`../deploy/prometheus/alerts.yml`), where such a link leads to the file. In the
site it leads to a copy under `repository/`. A linked folder is its README.md; one that has none stays as words. Linked
Markdown files become pages, and what they link to comes along too.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

PLACE = "repository"
_LINK = re.compile(r"\[([^\[\]]*)\]\((?!#|\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside of the docs' folder, and what these files link to in turn."""
    waiting = [file for file in files if file.is_documentation_page()]
    while waiting:
        file = waiting.pop()
        for link in _LINK.finditer(file.content_string):
            target = _target(_root(config), file.src_uri, link[2])
            if target and not target.startswith("docs/") and _uri(target) not in files.src_uris:
                path = str(_root(config) / target)
                added = File.generated(config, _uri(target), abs_src_path=path, inclusion=InclusionLevel.NOT_IN_NAV)
                files.append(added)
                waiting += [added] if added.is_documentation_page() else []
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead the links to the copies."""
    here = page.file.src_uri

    def led(link: re.Match[str]) -> str:
        target = _target(_root(config), here, link[2])
        if target is None:
            is_folder = (_root(config) / _path(here, link[2])).is_dir()
            return link[1] if is_folder else link[0]  # what leads nowhere is MkDocs's to complain of
        return f"[{link[1]}]({posixpath.relpath(_uri(target), posixpath.dirname(here) or '.')}{link[3] or ''})"

    return _LINK.sub(led, markdown)


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent


def _path(uri: str, link: str) -> str:
    """Where a link of a page leads, as a path in the repository."""
    page = uri.removeprefix(f"{PLACE}/") if uri.startswith(f"{PLACE}/") else f"docs/{uri}"
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def _target(root: Path, uri: str, link: str) -> str | None:
    path = _path(uri, link)
    if (root / path).is_dir():
        path = posixpath.join(path, "README.md")
    return path if (root / path).is_file() else None


def _uri(target: str) -> str:
    """Where a file of the repository is among the site's sources."""
    return target.removeprefix("docs/") if target.startswith("docs/") else f"{PLACE}/{target}"
