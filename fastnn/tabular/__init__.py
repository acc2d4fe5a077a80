"""Tables of any kind: their preprocessing, the recipe of the networks for them, and their files.

`fastnn.estimators.TabularClassifier` and `TabularRegressor` are the doors to it; `load` reads what
they save without scikit-learn.
"""

from fastnn.tabular.predictor import Predictor, load

__all__ = ["Predictor", "load"]
