"""Public docstrings: each names every parameter, and the errors that a call may raise."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re

import pytest

MODULES = (
    "fastnn",
    "fastnn.metrics",
    "fastnn.datasets",
    "fastnn.plots",
    "fastnn.report",
    "fastnn.draw",
    "fastnn.export",
    "fastnn.tabular",
    "fastnn.augment",
    "fastnn.optimizers",
    "fastnn.schedules",
    *(["fastnn.estimators"] if importlib.util.find_spec("sklearn") else []),
)
RESULT = "a result, which users do not build"
# What has no section Raises, and why.
CANNOT_RAISE = {
    "fastnn.ConvergenceWarning": "a warning, which users do not build",
    "fastnn.DivergenceError": "an error itself",
    "fastnn.Minimum": RESULT,
    "fastnn.Tuning": RESULT,
    "fastnn.Network.of": "the model is checked already",
    "fastnn.Network.summary": "prints what is there",
    "fastnn.metrics.Calibration": RESULT,
    "fastnn.datasets.ClassCount": RESULT,
    "fastnn.datasets.Column": RESULT,
    "fastnn.datasets.Columns": RESULT,
    "fastnn.datasets.Description": RESULT,
    "fastnn.datasets.Images": RESULT,
    "fastnn.datasets.Mnist": RESULT,
    "fastnn.datasets.Split": RESULT,
    "fastnn.datasets.Statistics": RESULT,
    "fastnn.datasets.Table": RESULT,
    "fastnn.plots.Results": RESULT,
    "fastnn.estimators.MLPClassifier": "fit checks the parameters, as scikit-learn asks for",
    "fastnn.estimators.MLPRegressor": "fit checks the parameters, as scikit-learn asks for",
    "fastnn.estimators.TabularClassifier": "fit checks the parameters, as scikit-learn asks for",
    "fastnn.estimators.TabularRegressor": "fit checks the parameters, as scikit-learn asks for",
    "fastnn.tabular.Predictor": RESULT,
    "fastnn.augment.splines": "a formula, for sizes that are checked",
    **{
        f"fastnn.augment.{name}": "a formula, for arrays that training has made"
        for name in (
            "Images.apply", "Images.places", "Images.matrices", "Images.field", "Noise.apply",
            "Mixup.draws", "Mixup.apply",
        )
    },
    "fastnn.optimizers.SGD.update": "a formula, for arrays that training has made",
    "fastnn.optimizers.RMSprop.update": "a formula, for arrays that training has made",
    "fastnn.optimizers.Adam.update": "a formula, for arrays that training has made",
    "fastnn.optimizers.AdamW.update": "a formula, for arrays that training has made",
    "fastnn.schedules.Constant": "has no parameters",
    "fastnn.schedules.Plateaus": "the schedule is checked already",
    "fastnn.schedules.Plateaus.reductions": "a formula, for losses that training has",
    "fastnn.schedules.ReduceOnPlateau.reductions": "a formula, for losses that training has",
    **{
        f"fastnn.schedules.{name}.check_run": "every run fits"
        for name in (
            "Constant", "Linear", "Exponential", "Step", "InverseScaling", "CosineLog",
            "OneCycle", "ReduceOnPlateau",
        )
    },
}  # fmt: skip


def defined_here(member) -> bool:
    return getattr(member, "__module__", "").startswith("fastnn")


def members(name: str):
    """Yield the names and the public classes and functions of a module, then their members."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [
        each
        for each, value in vars(module).items()
        if not each.startswith("_") and getattr(value, "__module__", None) == name
    ]
    for each in names:
        value = getattr(module, each)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield f"{name}.{each}", value
        if inspect.isclass(value):
            yield from attributes(f"{name}.{each}", value)


def attributes(name: str, kind: type):
    """Yield the public methods and properties that a class of ours defines or inherits from one."""
    found = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("fastnn"):
            found |= {each: value for each, value in vars(base).items() if each[0] != "_"}
    for each, value in found.items():
        if isinstance(value, property):
            yield f"{name}.{each}", value
        elif callable(value) or isinstance(value, classmethod):
            yield f"{name}.{each}", getattr(kind, each)


PUBLIC = dict(pair for name in MODULES for pair in members(name))
CALLABLE = {name: value for name, value in PUBLIC.items() if not isinstance(value, property)}


def sections(text: str) -> dict[str, str]:
    """Return the sections of a docstring in NumPy's style, by their headings."""
    parts = re.split(r"^(\w+)\n-+$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names_in(section: str) -> list[str]:
    """Return the names that a section describes, one or more on a line without an indent."""
    lines = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.strip(" *") for line in lines for name in line.split(" : ")[0].split(",")]


def undocumented(value) -> set[str]:
    """Return the parameters without a description, and the descriptions without a parameter."""
    found = sections(inspect.getdoc(value) or "")
    described = set(names_in(found.get("Parameters", "")))
    needed = set(inspect.signature(value).parameters) - {"self"}
    if inspect.isclass(value) and "Parameters" not in found:  # a result has Attributes
        return needed - set(names_in(found.get("Attributes", "")))
    return needed ^ described


def example(first, *second, third=None):
    """Do nothing.

    Parameters
    ----------
    first, third : int
        The first,
        and the third.
    fourth : str, optional

    Raises
    ------
    ValueError
        Never.
    """


def test_what_is_missing_is_found():
    assert undocumented(example) == {"second", "fourth"}
    assert names_in(sections(inspect.getdoc(example))["Raises"]) == ["ValueError"]


def test_there_is_much_to_look_at():
    assert {"fastnn.Network.train", "fastnn.Network.classes", "fastnn.report.write"} <= set(PUBLIC)
    assert {"fastnn.optimizers.Adam.update", "fastnn.schedules.factors"} <= set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_it_has_a_docstring(name):
    assert inspect.getdoc(PUBLIC[name]).strip()


@pytest.mark.parametrize("name", CALLABLE)
def test_the_docstring_has_the_parameters_of_the_signature(name):
    value = CALLABLE[name]
    if inspect.isclass(value) and issubclass(value, Exception):
        pytest.skip("errors are raised with a text")
    assert not undocumented(value)


@pytest.mark.parametrize("name", CALLABLE)
def test_the_docstring_says_what_may_be_raised(name):
    raised = names_in(sections(inspect.getdoc(CALLABLE[name])).get("Raises", ""))
    assert bool(raised) != (name in CANNOT_RAISE), CANNOT_RAISE.get(name, "need a section Raises")
    assert all(
        each.endswith("Error") or each in ("KeyboardInterrupt", "SystemExit") for each in raised
    )


@pytest.mark.skipif("fastnn.estimators" not in MODULES, reason="scikit-learn is not installed")
def test_what_cannot_raise_is_there():
    assert set(CANNOT_RAISE) <= set(CALLABLE)
