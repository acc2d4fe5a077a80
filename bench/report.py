"""Write the README's generated blocks: ``python bench/report.py``.

A block lies between ``<!-- name -->`` and ``<!-- /name -->``. Nothing in it is typed by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import roofline

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"


def main_job() -> str:
    """Return what the main job prints, as Markdown."""
    command = [sys.executable, "-m", "fastnn.train", "--backend", "numba"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return f"```text\n{done.stdout.strip()}\n```"


def roofline_tables(results: dict[str, Any]) -> str:
    """Return the roofline's tables and the machine that they are from, as Markdown."""
    machine = results["machine"]
    parts = [
        f"Network {results['sizes']}, float32, measured with `python bench/roofline.py` on "
        f"{machine['system']}, {machine['cpu']}, {machine['cpus']} CPUs, vectors of "
        f"{machine['vector_bits']} bits; Python {machine['python']}, NumPy {machine['numpy']}, "
        f"Numba {machine['numba']}."
    ]
    for section in results["sections"]:
        heading, *rows = roofline.table(section)
        rule = ["---:"] * len(heading)
        lines = ["| " + " | ".join(cells) + " |" for cells in (heading, rule, *rows)]
        title = roofline.title(section)
        parts += [title[0].upper() + title[1:] + ":", "\n".join(lines)]
    if text := roofline.warning(results["sections"]):
        parts.append(text)
    return "\n\n".join(parts)


def write_block(name: str, content: str) -> None:
    """Replace a block of the README."""
    text = README.read_text(encoding="utf-8")
    block = re.compile(f"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    text, count = block.subn(lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"{README.name} must have one block {name!r}; it has {count}")
    README.write_text(text, encoding="utf-8")


def main() -> None:
    """Write the blocks that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--main-job", action="store_true", help="only this block, and others named")
    parser.add_argument("--roofline", action="store_true", help="only this block, and others named")
    parser.add_argument("--json", type=Path, help="take the roofline from this file of roofline.py")
    options = parser.parse_args()
    everything = not (options.main_job or options.roofline)
    if options.roofline or everything:
        if options.json:
            results = json.loads(options.json.read_text())
        else:
            results = roofline.run(roofline.parser().parse_args([]))
        write_block("roofline", roofline_tables(results))
    if options.main_job or everything:
        write_block("main-job", main_job())


if __name__ == "__main__":
    main()
