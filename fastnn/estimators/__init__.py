"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, thin fronts of `Network`.

Their parameters have scikit-learn's names, meanings and defaults, so that changing an import is
enough; those that scikit-learn does not have follow after them. docs/estimators.md lists what is
different.
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
