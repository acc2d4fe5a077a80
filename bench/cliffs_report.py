"""The tables of `cliffs.py` and `random_cells.py`, from what they measured."""

from __future__ import annotations

from typing import Any

Result = dict[str, Any]
WORST = 20  # cells at random that are shown
CLOSE, FAR = 1.05, 1.3  # a peer's ratio below, a neighbour's factor above which a cell is listed
HEADINGS = {
    "peer": ["cell", "fastnn", "fastest peer", "ratio"],
    "neighbour": ["cell", "fastnn", "neighbour", "factor"],
}


def best(result: Result) -> tuple[str, float]:
    """Return the fastest of the others, and its figure."""
    others = {name: x for name, x in result["figures"].items() if name != "fastnn"}
    name = min(others, key=others.__getitem__)
    return name, others[name]


def ratio(result: Result) -> float:
    """Return fastnn's speed in that of the fastest peer, or its figure in its neighbour's."""
    (_, other), ours = best(result), result["figures"]["fastnn"]
    return other / ours if result["kind"] == "peer" else ours / other


def figure(value: float, result: Result) -> str:
    """Return a figure with its unit."""
    if result["kind"] == "memory":
        return f"{value / 1e6:,.1f} MB"
    factor, unit = (1e9, "ns") if result["unit"] == "row" else (1e6, "us")
    if value * factor >= 10_000:
        factor, unit = factor / 1e3, "us" if unit == "ns" else "ms"
    shown = f"{value * factor:,.{0 if value * factor >= 100 else 1}f} {unit}"
    article = "an" if result["unit"] == "epoch" else "a"
    return shown if result["unit"] == "call" else f"{shown} {article} {result['unit']}"


def line(name: str, result: Result) -> list[str]:
    """Return a row of a table."""
    other, value = best(result)
    theirs = f"{figure(value, result)} ({other})"
    return [name, figure(result["figures"]["fastnn"], result), theirs, f"{ratio(result):.2f}"]


def table(results: Result, kind: str, behind: bool) -> list[list[str]]:
    """Return the headings and the cells of a kind, worst first; all, or only where one is behind.

    Parameters
    ----------
    results : dict
    kind : str
        "peer" or "neighbour"; memory is among the neighbours.
    behind : bool
        Only those that are not well ahead of their peer, or far behind their neighbour.
    """
    chosen = [
        (name, result)
        for name, result in results["cells"].items()
        if (result["kind"] == "peer") == (kind == "peer")
    ]
    if kind == "peer":
        chosen = [c for c in chosen if not behind or ratio(c[1]) < CLOSE]
        chosen.sort(key=lambda c: ratio(c[1]))
    else:
        chosen = [c for c in chosen if not behind or ratio(c[1]) > FAR]
        chosen.sort(key=lambda c: -ratio(c[1]))
    return [HEADINGS[kind], *(line(name, result) for name, result in chosen)]


def markdown(rows: list[list[str]]) -> str:
    """Return a table with its names to the left."""
    heading, *body = rows
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def counts(results: Result) -> str:
    """Return how many cells are behind, in a sentence."""
    ratios = {
        kind: [ratio(r) for r in results["cells"].values() if (r["kind"] == "peer") == kind]
        for kind in (True, False)
    }
    slower, far = sum(r < 1 for r in ratios[True]), sum(r > FAR for r in ratios[False])
    return (
        f"A peer is faster in {slower} of {len(ratios[True])} cells; {far} of {len(ratios[False])} "
        f"take more than {FAR} times their neighbour."
    )


def behind(results: Result) -> str:
    """Return the cells in which fastnn is not ahead."""
    parts = [counts(results)]
    parts += [markdown(table(results, kind, True)) for kind in HEADINGS]
    return "\n\n".join(parts)


def everything(results: Result) -> str:
    """Return all cells."""
    parts = [counts(results)]
    parts += [markdown(table(results, kind, False)) for kind in HEADINGS]
    return "\n\n".join(parts)


def at_random(results: Result) -> str:
    """Return the cells of `random_cells.py` in which peers are ahead most, or fastnn least."""
    ratios = sorted(ratio(result) for result in results["cells"].values())
    middle = ratios[len(ratios) // 2]
    text = (
        f"A peer is faster in {sum(r < 1 for r in ratios)} of {len(ratios)} cells of the seed "
        f"{results['seed']}; the middle ratio is {middle:.2f}. The worst {WORST}:"
    )
    return f"{text}\n\n{markdown(table(results, 'peer', False)[: 1 + WORST])}"
