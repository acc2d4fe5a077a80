"""The experiments of a report by Vincent Raerek (2017).

"About manually implementing an artificial neural network in Python without using machine
libraries".
"""

from collections.abc import Callable
from dataclasses import replace

from experiment import PENALTY, RATE, SIGMOIDS, Experiment, Figures


def decay(rate: float) -> Callable[[float], float]:
    """Return a schedule: the rate falls by a tenth an epoch, by a twentieth once it is 0.01."""

    def factor(epochs_done: float) -> float:
        now = rate
        for _ in range(int(epochs_done)):
            now *= 0.9 if now > 0.01 else 0.95
        return now / rate

    return factor


def rate(first: float) -> dict[str, object]:
    """Return the settings of a rate of theirs that decays."""
    return {"learning_rate": first * RATE, "schedule": decay(first)}


THEIRS = {**SIGMOIDS, "init": "glorot", "batch_size": 10, "epochs": 30}
FIVE, LARGE = {**THEIRS, "hidden": (5,)}, {**THEIRS, "hidden": (256, 64)}
# Theirs began at 0.5 and fell to a tenth from one fold to the next.
PENALTIES = {"l2": [penalty * PENALTY for penalty in (0.5, 0.05, 0.005, 0.0005, 0.00005)]}
FINAL = Figures(0.933, 0.932)

ON_BOTH = [
    Experiment(
        "[784, 5, 10], rate 0.5",
        Figures(0.112),
        {**FIVE, **rate(0.5)},
        scaled=False,
        stand_in=True,
        remark="no better than chance, as theirs",
    ),
    Experiment(
        "[784, 5, 10], rate 0.05, pixels unscaled",
        Figures(0.826, 0.821),
        {**FIVE, **rate(0.05)},
        scaled=False,
        stand_in=True,
        reason="with pixels up to 255 the five sigmoids saturate before they have learnt anything; "
        "what else was different in theirs is not known",
    ),
    Experiment(
        "[784, 5, 10], rate 0.05, pixels scaled",
        Figures(0.826, 0.821),
        {**FIVE, **rate(0.05)},
        stand_in=True,
    ),
    Experiment(
        "[784, 5, 10], rate 0.05, L2, pixels scaled, 25 epochs",
        Figures(0.83, 0.827),
        {**FIVE, **rate(0.05), "epochs": 25, "l2": 0.00005 * PENALTY},
        stand_in=True,
        remark="L2 of 0.00005",
    ),
    Experiment(
        "[784, 256, 64, 10], rate 0.05, L2 of 0.00005",
        FINAL,
        {**LARGE, **rate(0.05), "l2": 0.00005 * PENALTY},
        scaled=False,
        stand_in=True,
    ),
    Experiment(
        "[784, 256, 64, 10] with ReLU, rate 0.05, L2 of 0.00005, pixels scaled",
        FINAL,
        {**LARGE, **rate(0.05), "activation": "relu", "l2": 0.00005 * PENALTY},
        stand_in=True,
        remark="an improvement that the author names",
    ),
    Experiment(
        "[784, 256, 64, 10] with fastnn's settings, 10 epochs",
        FINAL,
        {"hidden": (256, 64), "batch_size": 32, "epochs": 10},
        remark="ReLU, softmax, mini-batches of 32",
    ),
]
TUNED = [
    Experiment(
        "[784, 5, 10], L2 chosen on 10 folds, pixels scaled, 25 epochs",
        Figures(0.83, 0.827),
        {**FIVE, **rate(0.05), "epochs": 25},
        grid=PENALTIES,
        tuning={"folds": 10},
        remark="every value on every fold",
    ),
    Experiment(
        "[784, 256, 64, 10], L2 chosen on 5 folds",
        FINAL,
        {**LARGE, **rate(0.05)},
        scaled=False,
        grid=PENALTIES,
        tuning={"folds": 5, "epochs": 5},
        remark="every value on every fold, for 5 epochs",
    ),
    Experiment(
        "all settings chosen in combination on 3 folds",
        FINAL,
        {"hidden": (128,), "batch_size": 32, "epochs": 20},
        grid={
            "hidden": [(64,), (128,), (256, 64)],
            "activation": ["sigmoid", "tanh", "relu"],
            "learning_rate": [0.1, 0.3],
            "batch_size": [10, 32],
            "l2": [0, 0.00005],
        },
        tuning={"folds": 3, "epochs": 5, "rows": 10_000},
        remark="an improvement that the author names, layer sizes included; folds of 10,000 rows",
    ),
]
EXPERIMENTS = [
    *(replace(each, data="kaggle") for each in [*ON_BOTH, *TUNED]),
    *(replace(each, name=f"{each.name}; MNIST's split") for each in ON_BOTH),
]
