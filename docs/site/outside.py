"""A hook of MkDocs: links that lead out of docs work on the site too.

On the repository's host they lead to the file. The site gets copies of these files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("examples",)
SUFFIXES = (".py", ".csv")


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages may link to."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in SUFFIXES:
                name = path.relative_to(ROOT).as_posix()
                directories = config["use_directory_urls"]
                files.append(File(name, str(ROOT), config["site_dir"], directories))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links to them stay within the site."""
    up = "../" * page.file.src_uri.count("/")
    outside = re.compile(rf"\]\({re.escape(up)}\.\./({'|'.join(FOLDERS)})/")
    return outside.sub(rf"]({up}\1/", markdown)
