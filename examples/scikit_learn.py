"""A scikit-learn script whose perceptron is fastnn's, and whose networks train in threads."""

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from fastnn.estimators import MLPClassifier

X, y = load_digits(return_X_y=True)
X, test_X, y, test_y = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)

pipeline = Pipeline(
    [
        ("scale", StandardScaler()),
        ("perceptron", MLPClassifier(max_iter=500, random_state=0, threads=1)),
    ]
)
grid = {
    "perceptron__hidden_layer_sizes": [(64,), (128,), (64, 32)],
    "perceptron__alpha": [1e-4, 1e-1],
}
with joblib.parallel_config("threading", n_jobs=-1):  # networks of fastnn share the CPUs well
    search = GridSearchCV(pipeline, grid, cv=5).fit(X, y)

print("best", search.best_params_)
print(f"cross-validation accuracy {search.best_score_:.4f}")
print(f"test accuracy {search.score(test_X, test_y):.4f}")
