"""The scores, against a hand-worked example, a naive oracle and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.metrics import accuracy, confusion_matrix, macro_f1, precision_recall_f1

# Worked by hand; class 2 is never predicted and class 3 never occurs but is predicted once.
Y_TRUE = [0, 0, 0, 1, 1, 2]
Y_PRED = [0, 0, 1, 1, 3, 0]
CONFUSION = [[2, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
PRECISION = [2 / 3, 1 / 2, 0, 0]
RECALL = [2 / 3, 1 / 2, 0, 0]
F1 = [2 / 3, 1 / 2, 0, 0]

# A score is one quotient of exact integers, and a mean adds at most a few: some ulps of 1.
TOLERANCE = 8 * np.finfo(np.float64).eps

labels = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40).map(
    lambda pairs: tuple(np.array(column) for column in zip(*pairs, strict=True))
)


def naive_f1(y_true, y_pred, label):
    hits = sum(t == label and p == label for t, p in zip(y_true, y_pred, strict=True))
    precision = hits / max(sum(p == label for p in y_pred), 1)
    recall = hits / max(sum(t == label for t in y_true), 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def test_accuracy_of_the_worked_example():
    assert accuracy(Y_TRUE, Y_PRED) == 3 / 6


def test_confusion_matrix_of_the_worked_example():
    matrix = confusion_matrix(Y_TRUE, Y_PRED)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == CONFUSION


def test_precision_recall_f1_of_the_worked_example():
    scores = precision_recall_f1(CONFUSION)
    np.testing.assert_allclose(scores, [PRECISION, RECALL, F1], rtol=0, atol=TOLERANCE)


def test_macro_f1_of_the_worked_example():
    assert macro_f1(Y_TRUE, Y_PRED) == pytest.approx(sum(F1) / 4, abs=TOLERANCE)


def test_precision_and_recall_are_not_confused():
    precision, recall, f1 = precision_recall_f1([[1, 3], [0, 4]])
    assert precision.tolist() == [1, 4 / 7]
    assert recall.tolist() == [1 / 4, 1]
    assert f1.tolist() == [2 / 5, 8 / 11]


def test_macro_f1_leaves_out_classes_that_do_not_occur():
    assert macro_f1([0, 5], [0, 5], classes=10) == 1.0


@pytest.mark.parametrize("classes", [4, 10, np.int64(10)])
def test_classes_sets_the_size_of_the_matrix(classes):
    matrix = confusion_matrix(Y_TRUE, Y_PRED, classes)
    assert matrix.shape == (classes, classes)
    assert matrix.sum() == len(Y_TRUE)


@given(labels)
def test_accuracy_is_the_mean_of_a_loop(pair):
    y_true, y_pred = pair
    hits = sum(t == p for t, p in zip(y_true, y_pred, strict=True))
    assert accuracy(y_true, y_pred) == pytest.approx(hits / len(y_true), abs=TOLERANCE)


@given(labels, st.integers(7, 9))
def test_confusion_matrix_counts_as_a_loop_does(pair, classes):
    expected = np.zeros((classes, classes), int)
    for t, p in zip(*pair, strict=True):
        expected[t, p] += 1
    np.testing.assert_array_equal(confusion_matrix(*pair, classes), expected)


@given(labels)
def test_macro_f1_is_the_mean_of_a_loop_over_the_labels_that_occur(pair):
    y_true, y_pred = (column.tolist() for column in pair)
    scores = [naive_f1(y_true, y_pred, label) for label in {*y_true, *y_pred}]
    assert macro_f1(*pair) == pytest.approx(sum(scores) / len(scores), abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_any_integer_type_gives_the_same_scores(dtype):
    y_true, y_pred = np.full(300, 100, dtype), np.full(300, 99, dtype)
    assert confusion_matrix(y_true, y_pred)[100, 99] == 300
    assert accuracy(y_true, y_pred) == 0.0


def test_narrow_counts_do_not_overflow():
    f1 = precision_recall_f1(np.array([[200, 0], [0, 200]], np.uint8))[2]
    assert f1.tolist() == [1, 1]


def test_agrees_with_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.integers(0, 10, (2, 1000))
    assert accuracy(y_true, y_pred) == pytest.approx(
        sklearn_metrics.accuracy_score(y_true, y_pred), abs=TOLERANCE
    )
    np.testing.assert_array_equal(
        confusion_matrix(y_true, y_pred), sklearn_metrics.confusion_matrix(y_true, y_pred)
    )
    assert macro_f1(y_true, y_pred) == pytest.approx(
        sklearn_metrics.f1_score(y_true, y_pred, average="macro"), abs=TOLERANCE
    )


@pytest.mark.parametrize("score", [accuracy, confusion_matrix, macro_f1])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "error", "message"),
    [
        ([], [], ValueError, r"y_true has shape \(0,\)"),
        ([[0, 1]], [0, 1], ValueError, r"y_true has shape \(1, 2\)"),
        ([0, 1], 1, ValueError, r"y_pred has shape \(\)"),
        ([0, 1], [0.0, 1.0], TypeError, "y_pred has dtype float64; need integers"),
        ([True], [True], TypeError, "y_true has dtype bool; need integers"),
        ([0, -1], [0, 1], ValueError, "y_true holds -1 to 0; need 0 to"),
        ([0], np.array([2**63], np.uint64), ValueError, "y_pred holds 9223372036854775808"),
        ([0, 1, 2], [0, 1], ValueError, "y_pred has 2 labels; need 3, as in y_true"),
    ],
)
def test_bad_labels_are_refused_by_name(score, y_true, y_pred, error, message):
    with pytest.raises(error, match=message):
        score(y_true, y_pred)


@pytest.mark.parametrize("score", [confusion_matrix, macro_f1])
@pytest.mark.parametrize(("classes", "error"), [(3, ValueError), (0, ValueError), (4.0, TypeError)])
def test_classes_must_be_an_integer_greater_than_every_label(score, classes, error):
    with pytest.raises(error):
        score(Y_TRUE, Y_PRED, classes)


@pytest.mark.parametrize(
    ("confusion", "error", "message"),
    [
        ([[1.0]], TypeError, "dtype float64"),
        ([1, 2], ValueError, r"shape \(2,\)"),
        ([[1, 2]], ValueError, r"shape \(1, 2\)"),
        ([[1, -2], [0, 1]], ValueError, "holds -2"),
    ],
)
def test_a_bad_confusion_matrix_is_refused(confusion, error, message):
    with pytest.raises(error, match=message):
        precision_recall_f1(confusion)
