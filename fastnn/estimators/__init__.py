"""Estimators for scikit-learn, `MLPClassifier` and `MLPRegressor`, which train a `Network`.

Their parameters have the names, meanings and defaults of scikit-learn's; additional parameters
follow after them. docs/estimators.md lists the differences.
"""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastnn.estimators needs scikit-learn 1.7 or later: pip install 'fastnn-cpu[sklearn]'"
    ) from error

from fastnn.estimators.classifier import MLPClassifier
from fastnn.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
