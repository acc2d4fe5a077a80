"""The encoding of a file of text: what it is, and the same text in UTF-8."""

from __future__ import annotations

import codecs

from fastnn.checks.warning import warn

BOM = b"\xef\xbb\xbf"
_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_WINDOWS = "cp1252"
_LOOKED_AT = 1 << 12  # bytes
_ZEROS = 0.7  # share of zero bytes in every second place from which text is UTF-16
_TEXT = frozenset(b"\t\n\r\f")  # control characters that are part of text


def checked_encoding(encoding: object) -> str | None:
    """Return the name of an encoding that Python knows, or None."""
    if encoding is None:
        return None
    try:
        if isinstance(encoding, str):
            return codecs.lookup(encoding).name
    except LookupError:
        pass
    raise ValueError(
        f"encoding must be one that Python knows, such as 'utf-8' or 'cp1252'; got {encoding!r}"
    )


def in_utf_8(name: str, content: bytes, encoding: str | None = None) -> bytes:
    """Return the text of a file in UTF-8; warn where its encoding is only likely."""
    if encoding is None:
        if content.isascii() and b"\0" not in content:
            return content
        encoding = _MARKS.get(content[:2]) or utf_16_without_mark(content) or "utf-8"
        if encoding == "utf-8" and is_windows_1252(content):
            encoding = _WINDOWS
            _warn_of_windows(name, content)
    text = _decoded(name, content, encoding)
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise ValueError(f"{name}, line {line}: a zero byte; need text in UTF-8")
    return content if encoding == "utf-8" else text.removeprefix("\ufeff").encode()


def utf_16_without_mark(content: bytes) -> str | None:
    """Return the kind of UTF-16, if every second byte is mostly zero and the others are not."""
    head = content[:_LOOKED_AT]
    even, odd = head[::2], head[1::2]
    if len(content) % 2 or not odd:
        return None
    if odd.count(0) >= _ZEROS * len(odd) and not even.count(0):
        return "utf-16-le"
    if even.count(0) >= _ZEROS * len(even) and not odd.count(0):
        return "utf-16-be"
    return None


def is_windows_1252(content: bytes) -> bool:
    """Whether bytes are no UTF-8, but text in Windows-1252 without control characters."""
    try:
        content.decode()
        return False
    except UnicodeDecodeError:
        pass
    if any(byte < 32 and byte not in _TEXT for byte in set(content)):
        return False
    try:
        content.decode(_WINDOWS)
    except UnicodeDecodeError:
        return False
    return True


def _warn_of_windows(name: str, content: bytes) -> None:
    at = next(i for i, byte in enumerate(content) if byte > 127)
    line = content.count(b"\n", 0, at) + 1
    start = content.rfind(b"\n", 0, at) + 1
    word = content[max(start, at - 10) : at + 10].decode(_WINDOWS, "replace").split("\n")[0]
    warn(
        f"{name} is not in UTF-8 and is read as Windows-1252: line {line} has {word.strip()!r}; if "
        "that is right, encoding='cp1252' says so; otherwise name another encoding"
    )


def _decoded(name: str, content: bytes, encoding: str) -> str:
    """Return text; raise ValueError with the line that cannot be read."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"{content[error.start]:#x}, {error.reason}"
        shown = {"utf-8": "UTF-8", _WINDOWS: "Windows-1252"}.get(encoding, encoding)
        raise ValueError(f"{name}, line {line}: {what}; need text in {shown}") from None
    except (LookupError, ValueError) as error:  # codecs that are not of text, such as hex
        raise ValueError(f"{name} cannot be read as {encoding}: {error}") from None
