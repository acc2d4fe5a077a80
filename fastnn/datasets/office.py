"""Files of Excel and other office programs, which are refused by what they are."""

from __future__ import annotations

import os
import zipfile

ZIP = b"PK"
_OLD = b"\xd0\xcf\x11\xe0"


def refuse_office(path: str | os.PathLike[str], name: str, content: bytes) -> None:
    """Refuse a document of an office program; ``content`` is the file's, or its first bytes."""
    if content.startswith(_OLD) or (content.startswith(ZIP) and _is_office(path)):
        raise ValueError(
            f"{name} is a file of Excel or another office program; save the table as CSV there, "
            "and name that file"
        )


def _is_office(path: str | os.PathLike[str]) -> bool:
    """Whether a zip file is a document, as of Excel or LibreOffice."""
    try:
        with zipfile.ZipFile(path) as archive:
            return not {"[Content_Types].xml", "content.xml"}.isdisjoint(archive.namelist())
    except (zipfile.BadZipFile, ValueError, RuntimeError, EOFError):  # readers say what it is
        return False
