"""Regression: how far diabetes has gone on in a year, from ten measurements of 442 patients.

The data comes with scikit-learn: ``pip install scikit-learn``. Targets from 25 to 346 and inputs in
any unit need no care, as the network standardises both.
"""

from sklearn.datasets import load_diabetes

import fastnn

X, y = load_diabetes(return_X_y=True, scaled=False)
train, test = slice(0, 342), slice(342, None)
net = fastnn.Network(
    [10, 32, 1],
    activation="tanh",
    output="identity",
    loss="huber",
    seed=0,
    standardize_inputs=True,
    standardize_targets=True,
)
history = net.train(X[train], y[train], epochs=60, optimizer="adam", l2=0.02, dropout=0.2)
scores = net.evaluate(X[test], y[test])
print(f"R2 {scores['r2']:.3f}, mean absolute error {scores['mae']:.1f} of {y.std():.1f} spread")
for row, predicted in zip(range(342, 347), net.predict(X[342:347])[:, 0], strict=True):
    print(f"patient {row}: {y[row]:5.0f}, predicted {predicted:5.0f}")
