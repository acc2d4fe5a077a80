"""The pictures of the documentation, from what the benchmarks found; `report.py` draws them."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import digits
import scaling as scaling_points

import fastnn

# Okabe and Ito's colours, which are told apart by the colour-blind, and a marker for each besides.
STYLES = {
    "fastnn": ("#D55E00", "o"),
    "jax": ("#0072B2", "s"),
    "torch": ("#009E73", "^"),
    "torch.compile": ("#56B4E9", "v"),
    "keras": ("#E69F00", "X"),
    "numpy": ("#000000", "D"),
    "sklearn": ("#CC79A7", "P"),
}


def _axes(rows: int, columns: int, width: float, height: float) -> Any:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.grid": True, "grid.alpha": 0.3})
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained")


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def throughput(results: dict[str, Any], path: Path) -> None:
    """Draw samples a second against the batch size, for each network and number of cores.

    Each network learns by the optimizer that its cells have first.
    """
    training = [cell for cell in results["cells"] if cell["cell"] == "training"]
    optimizers = {cell["network"]: cell["optimizer"] for cell in reversed(training)}
    cells = [cell for cell in training if cell["optimizer"] == optimizers[cell["network"]]]
    cores = list(dict.fromkeys(cell["cores"] for cell in cells))
    names = list(dict.fromkeys(cell["network"] for cell in cells))
    figure, axes = _axes(len(cores), len(names), 2.6 * len(names), 2.8 * len(cores) + 0.6)
    for row, count in enumerate(cores):
        for column, name in enumerate(names):
            ax = axes[row, column]
            chosen = [c for c in cells if (c["cores"], c["network"]) == (count, name)]
            ax.set_visible(bool(chosen))
            for contender, (colour, marker) in STYLES.items():
                points = [
                    (c["batch"], c["rows"] / median(t["seconds"] for t in c["turns"][contender]))
                    for c in chosen
                    if c["turns"].get(contender)
                ]
                if points:
                    ours = contender == "fastnn"
                    style = {"linewidth": 2.2 if ours else 1.1, "zorder": 3 if ours else 2}
                    x, y = zip(*points, strict=True)
                    ax.plot(x, y, color=colour, marker=marker, ms=4, label=contender, **style)
            batches = [c["batch"] for c in chosen]
            ax.set(xscale="log", yscale="log", xticks=batches, xticklabels=batches)
            ax.minorticks_off()
            if row == 0 and chosen:
                how = "" if optimizers[name] == "sgd" else f", {optimizers[name]}"
                ax.set_title(f"{name}{how}\n{chosen[0]['sizes']}")
            if row == len(cores) - 1:
                ax.set_xlabel("batch size")
            if column == 0:
                where = "one core" if count == 1 else f"{count} cores"
                ax.set_ylabel(f"samples a second, {where}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    _save(figure, path)


def roofline(networks: list[dict[str, Any]], path: Path) -> None:
    """Draw operations a second against the batch size, below the measured peak."""
    figure, axes = _axes(1, len(networks), 4.6 * len(networks), 3.6)
    for ax, network in zip(axes[0], networks, strict=True):
        for section, colour in zip(network["sections"], ("#D55E00", "#0072B2"), strict=False):
            rows = section["rows"]
            name = section["name"].split(",")[0]
            x = [row["batch"] for row in rows]
            ax.plot(x, [row["gflops"] for row in rows], color=colour, marker="o", label=name)
            if "without_zeros" in rows[0]:
                y = [row["without_zeros"]["gflops"] for row in rows]
                ax.plot(
                    x, y, color=colour, marker="s", ls=":", label=f"{name}, no zeros in the data"
                )
            peak = median(row["peak_gflops"] for row in rows)
            ax.axhline(peak, color=colour, ls="--", lw=1)
            ax.annotate(
                f"peak, {name}", (x[0], peak), (0, 3), textcoords="offset points", color=colour
            )
        ax.set(xscale="log", xticks=x, xticklabels=x, xlabel="batch size", ylim=0)
        ax.minorticks_off()
        ax.margins(y=0.15)
        ax.set_ylim(0, 1.15 * ax.get_ylim()[1])
        ax.set(ylabel="GFLOP/s of whole products", title=f"training {network['sizes']}")
        ax.legend(fontsize=8, loc="lower right")
    _save(figure, path)


def scaling(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw the time of a row and the memory against what varies."""
    figure, axes = _axes(2, len(results), 3 * len(results), 5.4)
    for column, (name, points) in enumerate(results.items()):
        top, bottom = axes[:, column]
        x = [scaling_points.value_of(name, point) for point in points]
        top.plot(x, [1e6 * point["seconds"] for point in points], color="#D55E00", marker="o")
        top.set(xscale="log", yscale="log", title=name)
        if name in ("width", "depth"):  # what the arithmetic alone would take at the fastest rate
            best = max(point["gflops"] for point in points)
            y = [scaling_points.flops(point["sizes"]) / best / 1e3 for point in points]
            top.plot(x, y, color="black", ls="--", lw=1, label=f"at {best:.0f} GFLOP/s")
            top.legend(fontsize=8)
        if name == "rows":
            top.set_ylim(min(top.get_ylim()[0], 0.1), 10)
        bottom.plot(x, [point["megabytes"] for point in points], "k--", lw=1, label="before")
        most = [point["megabytes"] + point["more_megabytes"] for point in points]
        bottom.plot(x, most, color="#0072B2", marker="s", label="at most")
        bottom.set(xscale="log", xlabel=name, ylim=(0, 1.15 * max(most)))
        bottom.legend(fontsize=8)
    axes[0, 0].set_ylabel("microseconds a row")
    axes[1, 0].set_ylabel("megabytes, without files")
    _save(figure, path)


def misread(results: dict[str, Any], path: Path) -> None:
    """Draw the test images that the longest run with the median of the errors misreads."""
    longest = max(each["minutes"] for each in results["runs"])
    wrong = digits.middle(results, longest)["misread"]
    images = fastnn.datasets.load_mnist()[2].reshape(-1, 28, 28)
    lines = -(-len(wrong) // 9)
    figure, axes = _axes(lines, 9, 9, 1.25 * lines)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, (row, digit, read, share) in zip(axes.flat, wrong, strict=False):
        ax.imshow(images[row], cmap="gray_r")
        ax.set_title(f"{digit}: {read} ({share:.0%})", fontsize=8)
    _save(figure, path)
