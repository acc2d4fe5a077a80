"""Two classes, one of them rare: class weights find more of it.

MNIST's eights against all other digits, with one image in a hundred an eight.
"""

import numpy as np

import fastnn
from fastnn import metrics

X, digits, test_X, test_digits = fastnn.datasets.load_mnist()
others = np.flatnonzero(digits != 8)[:19800]
rows = np.concatenate([others, np.flatnonzero(digits == 8)[:200]])
eights, test_eights = (digits[rows] == 8).astype(int), (test_digits == 8).astype(int)

for class_weight in (None, {1: 10}, "balanced"):
    net = fastnn.Network([784, 32, 1], seed=0)  # one output: the probability of an eight
    net.train(X[rows], eights, epochs=15, optimizer="adam", class_weight=class_weight)
    confusion = metrics.confusion_matrix(test_eights, net.predict(test_X))
    precision, recall, f1 = metrics.precision_recall_f1(confusion)
    print(
        f"class weights {class_weight!s:9}  eights found {recall[1]:.3f}, "
        f"right when said {precision[1]:.3f}, F1 {f1[1]:.3f}"
    )
