"""The experiments of "First steps with neural networks and NumPy" by Martin Pitt (2020)."""

from dataclasses import replace

from experiment import RATE, SIGMOIDS, Experiment, Figures

BY_CHANCE = "accuracy moves by some tenths of a percent with the seed"
BY_MACHINE = "their times are from another machine, and ours depend on what else it was doing"
EARLY = {
    **SIGMOIDS,
    "hidden": (16, 16),
    "init": "normal",
    "schedule": "constant",
}
LATER = {
    **SIGMOIDS,
    "init": "uniform",
    "batch_size": 10_000,
    "learning_rate": 1 * RATE,
    "schedule": "constant",
}
OURS = {"epochs": 10, "batch_size": 32}  # the rest is fastnn's defaults: ReLU, softmax, 0.3 falling
HUNDRED_ROUNDS = Figures(0.9286, seconds=4 * 60 + 10.904)

OF_THE_WRITE_UP = [
    Experiment(
        "[784, 16, 16, 10], one image at a time, 1 round",
        Figures(0.14211666, seconds=37.927),
        {**EARLY, "epochs": 1, "batch_size": 1, "learning_rate": 0.1 * RATE},
        scaled=False,
        score_training=True,
        remark="accuracy on the training images, as theirs",
    ),
    Experiment(
        "[784, 16, 16, 10], many images at once, 100 rounds",
        Figures(0.1135, seconds=60 + 51.520),
        {**EARLY, "epochs": 100, "batch_size": 10_000, "learning_rate": 1 * RATE},
        scaled=False,
        remark="theirs is the share of ones",
    ),
    Experiment(
        "[784, 16, 16, 10] with fastnn's settings, 10 rounds",
        Figures(0.1135, seconds=60 + 51.520),
        {**OURS, "hidden": (16, 16)},
        remark="ReLU, softmax, mini-batches of 32: 16 units are not too few",
    ),
    Experiment(
        "[784, 80, 10], 20 rounds",
        Figures(0.8917, seconds=47.603),
        {**LATER, "hidden": (80,), "epochs": 20},
        scaled=False,
        reason=BY_CHANCE,
    ),
    Experiment(
        "[784, 80, 10], 100 rounds",
        HUNDRED_ROUNDS,
        {**LATER, "hidden": (80,), "epochs": 100},
        scaled=False,
        reason=BY_CHANCE,
        first_output=(
            0.02702985, 0.01105217, 0.02937533, 0.05137719, 0.01302609, 0.00517254, 0.00360999,
            0.96093954, 0.00806618, 0.05078305,
        ),
    ),
    Experiment(
        "[784, 80, 10], mini-batches of 10, 1 round",
        HUNDRED_ROUNDS,
        {**LATER, "init": "glorot", "hidden": (80,), "epochs": 1, "batch_size": 10},
        remark="no figures are given for mini-batches, only that they were not much faster; "
        "compared with the 100 rounds",
    ),
    Experiment(
        "[784, 80, 10], mini-batches of 10, 20 rounds",
        HUNDRED_ROUNDS,
        {
            **LATER,
            "init": "glorot",
            "hidden": (80,),
            "epochs": 20,
            "batch_size": 10,
            "schedule": "linear",
        },
        remark="compared with the 100 rounds",
    ),
    Experiment(
        "[784, 80, 10] with ReLU, falling rate, 100 rounds",
        Figures(0.9246),
        {
            **LATER,
            "activation": "relu",
            "init": "glorot",
            "hidden": (80,),
            "epochs": 100,
            "learning_rate": 2 * RATE,
            "schedule": "linear",
        },
        remark="no time is given",
        first_output=(0, 0, 0, 0, 0, 0, 0, 0.89541759, 0, 0),
    ),
    Experiment(
        "[784, 80, 10] with fastnn's settings, 10 rounds",
        HUNDRED_ROUNDS,
        {**OURS, "hidden": (80,)},
        remark="ReLU, softmax, mini-batches of 32; compared with the 100 rounds",
    ),
    Experiment(
        "[784, 128, 10], 100 rounds",
        Figures(0.9417),
        {**LATER, "hidden": (128,), "epochs": 100},
        scaled=False,
        reason=BY_CHANCE,
        remark="no time is given",
    ),
    Experiment(
        "[784, 128, 10] with fastnn's settings, 10 rounds",
        Figures(0.9417),
        {**OURS, "hidden": (128,)},
        remark="no time is given",
    ),
]  # fmt: skip
EXPERIMENTS = [replace(each, slow_reason=BY_MACHINE) for each in OF_THE_WRITE_UP]
