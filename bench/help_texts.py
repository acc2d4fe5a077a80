"""Write the help texts of the command lines into the reference: ``python bench/help_texts.py``.

Blocks between ``<!-- name -->`` and ``<!-- /name -->`` are replaced; tests check that they are
current.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "command-line.md"
COMMANDS = (
    "fastnn.train",
    "fastnn.predict",
    "fastnn.tune",
    "fastnn.draw",
    "fastnn.export",
    "fastnn.info",
)
WIDTH = 80


def help_text(name: str) -> str:
    """Return what ``python -m NAME --help`` prints, as a block of Markdown."""
    environment = {**os.environ, "COLUMNS": f"{WIDTH}", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", name, "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return f"```text\n{done.stdout.strip()}\n```"


def write_block(file: Path, name: str, content: str) -> None:
    """Replace a block of a file."""
    text = file.read_text(encoding="utf-8")
    block = re.compile(f"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    text, count = block.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{file.name} must have one block {name!r}; it has {count}")
    file.write_text(text, encoding="utf-8")


def main() -> None:
    """Write every help text."""
    for name in COMMANDS:
        write_block(PAGE, name, help_text(name))


if __name__ == "__main__":
    main()
