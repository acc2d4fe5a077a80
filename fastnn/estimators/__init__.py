"""Estimators for scikit-learn, which train a `Network`.

The parameters of `MLPClassifier` and `MLPRegressor` have the names, meanings and defaults of
scikit-learn's; additional parameters follow after them. docs/estimators.md lists the differences.
`TabularClassifier` and `TabularRegressor` take tables as they are, see docs/tabular.md.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastnn.estimators needs scikit-learn 1.7 or later: pip install 'fastnn-cpu[sklearn]'"
    ) from error

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.regressor import MLPRegressor
from fastnn.estimators.tabular_classifier import TabularClassifier
from fastnn.estimators.tabular_regressor import TabularRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]
