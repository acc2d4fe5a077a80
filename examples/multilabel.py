"""Several labels a row: what holds for a digit, from its image."""

import numpy as np

import fastnn

NAMES = ("even", "prime", "above four", "with a loop")
OF_DIGIT = np.array([[d % 2 == 0, d in (2, 3, 5, 7), d > 4, d in (0, 6, 8, 9)] for d in range(10)])

X, digits, test_X, test_digits = fastnn.datasets.load_mnist()
labels, test_labels = OF_DIGIT[digits].astype(int), OF_DIGIT[test_digits].astype(int)

net = fastnn.Network([784, 128, len(NAMES)], output="sigmoid", seed=0)
net.train(X, labels, epochs=5, optimizer="nesterov")
scores = net.evaluate(test_X, test_labels)
print(f"all labels right {scores['accuracy']:.4f}, mean F1 of the labels {scores['macro_f1']:.4f}")
for digit, row in zip(test_digits[:5], net.predict(test_X[:5], threshold=0.5), strict=True):
    print(digit, ", ".join(name for name, holds in zip(NAMES, row, strict=True) if holds) or "none")
