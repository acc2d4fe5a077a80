"""The scores, against hand-worked examples, a naive oracle and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.metrics import (
    accuracy,
    calibration_bins,
    confusion_matrix,
    f1,
    log_loss,
    macro_f1,
    mae,
    multilabel_scores,
    precision,
    precision_recall_f1,
    r2,
    recall,
    rmse,
    top_k_accuracy,
    winners,
)

# Worked by hand; class 2 is never predicted and class 3 never occurs but is predicted once.
Y_TRUE = [0, 0, 0, 1, 1, 2]
Y_PRED = [0, 0, 1, 1, 3, 0]
CONFUSION = [[2, 1, 0, 0], [0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]
PRECISION = [2 / 3, 1 / 2, 0, 0]
RECALL = [2 / 3, 1 / 2, 0, 0]
F1 = [2 / 3, 1 / 2, 0, 0]

# A score is one quotient of exact integers, and a mean adds at most a few: some ulps of 1.
TOLERANCE = 8 * np.finfo(np.float64).eps

slow_to_import = settings(deadline=None)  # scikit-learn, in the first case

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


@pytest.mark.parametrize("score", [accuracy, confusion_matrix, macro_f1, precision, recall, f1])
@pytest.mark.parametrize(
    ("y_true", "y_pred", "error", "message"),
    [
        ([], [], ValueError, r"y_true has shape \(0,\)"),
        ([[0, 1]], [0, 1], ValueError, r"y_true has shape \(1, 2\)"),
        ([0, 1], 1, ValueError, r"y_pred has shape \(\)"),
        ([0, 1], [0.0, 1.0], TypeError, "y_pred has dtype float64; need integers"),
        ([0, 1], ["a", "b"], TypeError, "y_true holds int64 and y_pred text; need the same kind"),
        (["a", "b"], [True, False], TypeError, "y_true holds text and y_pred bool; need the same"),
        (["a", "b"], ["a"], ValueError, "y_pred has 1 labels; need 2, as in y_true"),
        ([["a"]], ["a"], ValueError, r"y_true has shape \(1, 1\); need \(n,\)"),
        ([0, -1], [0, 1], ValueError, "y_true holds -1 to 0; need 0 to"),
        ([0], np.array([2**63], np.uint64), ValueError, "y_pred holds 9223372036854775808"),
        ([0, 1, 2], [0, 1], ValueError, "y_pred has 2 labels; need 3, as in y_true"),
    ],
)
def test_bad_labels_are_refused_by_name(score, y_true, y_pred, error, message):
    with pytest.raises(error, match=message):
        score(y_true, y_pred)


def test_classes_may_be_text_or_bools():
    names = np.array(["oak", "elm", "fir", "yew"])
    for score in (accuracy, macro_f1, precision, recall, f1):
        assert score(names[Y_TRUE], names[Y_PRED]) == score(Y_TRUE, Y_PRED)
        assert score(names[Y_TRUE].tolist(), names[Y_PRED].astype(object)) == score(Y_TRUE, Y_PRED)
    assert accuracy([True, False], [True, True]) == 0.5
    assert confusion_matrix([True, False], [1, 1]).tolist() == [[0, 1], [0, 1]]


def test_text_is_in_alphabetical_order_in_a_confusion_matrix():
    found = confusion_matrix(["oak", "elm", "elm"], ["elm", "elm", "yew"])
    assert found.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]  # elm, oak, yew


def test_the_number_of_classes_is_not_for_text():
    with pytest.raises(ValueError, match="classes is 3, but the labels are text"):
        confusion_matrix(["a"], ["b"], 3)


@pytest.mark.parametrize("score", [confusion_matrix, macro_f1])
@pytest.mark.parametrize(("classes", "error"), [(3, ValueError), (0, ValueError), (4.0, TypeError)])
def test_classes_must_be_an_integer_greater_than_every_label(score, classes, error):
    with pytest.raises(error):
        score(Y_TRUE, Y_PRED, classes)


@pytest.mark.parametrize(
    ("confusion", "error", "message"),
    [
        ([["1"]], TypeError, "dtype <U1"),
        ([[1.0, np.nan], [0.0, 1.0]], ValueError, "holds nan"),
        ([1, 2], ValueError, r"shape \(2,\)"),
        ([[1, 2]], ValueError, r"shape \(1, 2\)"),
        ([[1, -2], [0, 1]], ValueError, "holds -2"),
    ],
)
def test_a_bad_confusion_matrix_is_refused(confusion, error, message):
    with pytest.raises(error, match=message):
        precision_recall_f1(confusion)


# Weights

# Of the worked example: each row so many times.
TIMES = [1, 2, 3, 0, 1, 4]
WEIGHTED = [[3, 3, 0, 0], [0, 0, 0, 1], [4, 0, 0, 0], [0, 0, 0, 0]]
WEIGHTED_F1 = [6 / 13, 0, 0, 0]


def test_weighted_accuracy_of_the_worked_example():
    assert accuracy(Y_TRUE, Y_PRED, TIMES) == pytest.approx(3 / 11, abs=TOLERANCE)


def test_weighted_confusion_matrix_of_the_worked_example():
    matrix = confusion_matrix(Y_TRUE, Y_PRED, weights=np.array(TIMES) / 2)
    assert matrix.dtype == np.float64
    assert (matrix * 2).tolist() == WEIGHTED


def test_weighted_macro_f1_of_the_worked_example():
    f1 = macro_f1(Y_TRUE, Y_PRED, weights=TIMES)
    assert f1 == pytest.approx(sum(WEIGHTED_F1) / 4, abs=TOLERANCE)


@pytest.mark.parametrize("score", [accuracy, macro_f1])
def test_integer_weights_are_repeated_rows(score):
    repeated = (np.repeat(labels, TIMES) for labels in (Y_TRUE, Y_PRED))
    assert score(Y_TRUE, Y_PRED, weights=TIMES) == pytest.approx(score(*repeated), abs=TOLERANCE)


def test_precision_recall_f1_of_sums_of_weights():
    halves = precision_recall_f1(np.array(WEIGHTED) / 2)  # shares do not change by a half
    np.testing.assert_array_equal(halves, precision_recall_f1(WEIGHTED))


# Means over classes

# Of the worked example, whose true counts are 3, 2, 1, 0.
MEANS = [
    (precision, "macro", (2 / 3 + 1 / 2) / 4),
    (precision, "micro", 3 / 6),
    (precision, "weighted", (3 * 2 / 3 + 2 * 1 / 2) / 6),
    (precision, None, PRECISION),
    (recall, None, RECALL),
    (recall, "weighted", 3 / 6),
    (f1, None, F1),
    (f1, "macro", sum(F1) / 4),
]
each_class_score = pytest.mark.parametrize("score", [precision, recall, f1])


@pytest.mark.parametrize(("score", "average", "expected"), MEANS)
def test_means_over_classes_of_the_worked_example(score, average, expected):
    result = score(Y_TRUE, Y_PRED, average)
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


@each_class_score
def test_scores_of_each_class_are_as_many_as_asked_for(score):
    assert score(Y_TRUE, Y_PRED, None, 7).shape == (7,)


@each_class_score
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("weights", [None, TIMES])
def test_scores_of_many_classes_are_those_of_their_confusion_matrix(score, average, weights):
    few, many = ([[0, 7, 90][k] for k in y] for y in ([0, 1, 2, 2], [0, 2, 2, 1]))
    weights = None if weights is None else weights[:4]
    expected = score([0, 1, 2, 2], [0, 2, 2, 1], average, weights=weights)
    result = score(few, many, average, weights=weights)
    result = result if average else result[[0, 7, 90]]
    np.testing.assert_array_equal(result, expected)


@each_class_score
def test_scores_of_very_many_classes_need_no_matrix(score):
    last = 10**6  # a matrix would take 8 terabytes
    assert score([0, last], [0, last]) == 1.0


@each_class_score
def test_the_micro_mean_is_the_accuracy(score):
    assert score(Y_TRUE, Y_PRED, "micro", weights=TIMES) == accuracy(Y_TRUE, Y_PRED, TIMES)


@each_class_score
def test_a_class_without_weight_does_not_occur(score):
    assert score([0, 1], [0, 2], weights=[1, 0]) == 1.0


@each_class_score
@pytest.mark.parametrize("average", ["binary", "Macro", 1])
def test_an_unknown_mean_is_refused(score, average):
    with pytest.raises(ValueError, match=r"average is .*; need 'macro', 'micro', 'weighted'"):
        score(Y_TRUE, Y_PRED, average)


@slow_to_import
@given(labels, st.sampled_from(["macro", "micro", "weighted", None]), st.booleans())
def test_means_over_classes_agree_with_scikit_learn(pair, average, weighted):
    theirs = pytest.importorskip("sklearn.metrics")
    weights = np.random.default_rng(0).uniform(0.1, 3, len(pair[0])) if weighted else None
    more = {"average": average, "sample_weight": weights, "zero_division": 0}
    if average is None:
        more["labels"] = range(8)
    for ours, name in ((precision, "precision"), (recall, "recall"), (f1, "f1")):
        np.testing.assert_allclose(
            ours(*pair, average, None if average else 8, weights),
            getattr(theirs, f"{name}_score")(*pair, **more),
            rtol=0,
            atol=TOLERANCE,
        )


# Probabilities

PROBABILITIES = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]]
OF_CLASSES = [0, 0, 1, 1]
each_of_probabilities = pytest.mark.parametrize(
    "score", [top_k_accuracy, log_loss, calibration_bins]
)


@st.composite
def guesses(draw, single=False):
    """Labels and probabilities of 3 to 5 classes or of one column, with ties, 0 and 1."""
    classes = 1 if single else draw(st.integers(3, 5))
    rows = draw(st.integers(1, 12))
    cells = st.lists(st.integers(0, 3), min_size=classes * rows, max_size=classes * rows)
    parts = np.array(draw(cells)).reshape(rows, classes)
    parts[parts.sum(axis=1) == 0] = 1
    y_true = draw(st.lists(st.integers(0, max(1, classes - 1)), min_size=rows, max_size=rows))
    whole = np.full(rows, 3) if single else parts.sum(axis=1)
    return np.array(y_true), parts / whole[:, None]


def weights_for(rows, weighted):
    return np.random.default_rng(1).uniform(0.1, 3, rows) if weighted else None


def test_winners_of_a_worked_example():
    classes, confidence = winners(PROBABILITIES)
    assert classes.tolist() == [0, 1, 1, 2]
    assert confidence.tolist() == [0.5, 0.5, 0.75, 0.5]


def test_of_equal_probabilities_the_first_wins():
    assert winners([[0.5, 0.5], [0.0, 0.0]])[0].tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_a_single_column_is_of_class_1(shape):
    classes, confidence = winners(np.reshape([0.25, 0.5, 0.75], shape))
    assert classes.tolist() == [0, 0, 1]
    assert confidence.tolist() == [0.75, 0.5, 0.75]


@pytest.mark.parametrize(("k", "expected"), [(1, 2 / 4), (2, 3 / 4), (3, 1)])
def test_top_k_accuracy_of_a_worked_example(k, expected):
    # Rows 1 and 3 tie for the second place, which the last class takes.
    assert top_k_accuracy(OF_CLASSES, PROBABILITIES, k) == expected


def test_log_loss_of_a_worked_example():
    expected = -np.log([0.5, 0.25, 0.75, 0.25]).mean()
    assert log_loss(OF_CLASSES, PROBABILITIES) == pytest.approx(expected, rel=TOLERANCE)


def test_weighted_scores_of_probabilities_of_a_worked_example():
    expected = -np.log([0.5, 0.75, 0.75, 0.75]).mean()
    weights = [2, 0, 6, 0]
    assert log_loss(OF_CLASSES, PROBABILITIES, weights) == pytest.approx(expected, rel=TOLERANCE)
    assert top_k_accuracy(OF_CLASSES, PROBABILITIES, 1, [1, 1, 4, 2]) == 5 / 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_of_what_was_impossible_is_that_of_eps(dtype):
    expected = -np.log(float(np.finfo(dtype).eps))
    assert log_loss([1], np.array([[1, 0]], dtype)) == pytest.approx(expected, rel=TOLERANCE)


@slow_to_import
@given(guesses(), st.integers(1, 2), st.booleans())
def test_top_k_accuracy_agrees_with_scikit_learn(case, k, weighted):
    theirs = pytest.importorskip("sklearn.metrics").top_k_accuracy_score
    (y_true, guess), weights = case, weights_for(len(case[0]), weighted)
    expected = theirs(y_true, guess, k=k, labels=range(guess.shape[1]), sample_weight=weights)
    assert top_k_accuracy(y_true, guess, k, weights) == pytest.approx(expected, abs=TOLERANCE)


@slow_to_import
@given(guesses(single=True), st.booleans())
def test_top_1_accuracy_of_a_single_column_agrees_with_scikit_learn(case, weighted):
    theirs = pytest.importorskip("sklearn.metrics").top_k_accuracy_score
    (y_true, guess), weights = case, weights_for(len(case[0]), weighted)
    expected = theirs(y_true, guess[:, 0], k=1, labels=[0, 1], sample_weight=weights)
    assert top_k_accuracy(y_true, guess, 1, weights) == pytest.approx(expected, abs=TOLERANCE)


@slow_to_import
@given(
    st.one_of(guesses(), guesses(single=True)),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_log_loss_agrees_with_scikit_learn(case, weighted, dtype):
    theirs = pytest.importorskip("sklearn.metrics").log_loss
    (y_true, guess), weights = case, weights_for(len(case[0]), weighted)
    guess = guess.astype(dtype)
    labels = range(max(2, guess.shape[1]))
    expected = theirs(y_true, guess, labels=labels, sample_weight=weights)
    # It takes logarithms in the type of the probabilities.
    eps = float(np.finfo(dtype).eps)
    assert log_loss(y_true, guess, weights) == pytest.approx(expected, rel=8 * eps, abs=2 * eps)


def test_calibration_bins_of_a_worked_example():
    # Two bins: confidences of 0.5 in the first, of which one in three is right, 0.75 in the other.
    bins = calibration_bins(OF_CLASSES, PROBABILITIES, bins=2)
    np.testing.assert_allclose(bins.confidence, [0.5, 0.75], rtol=TOLERANCE)
    np.testing.assert_allclose(bins.accuracy, [1 / 3, 1], rtol=TOLERANCE)
    assert bins.counts.dtype == np.int64
    assert bins.counts.tolist() == [3, 1]
    assert bins.error == pytest.approx((3 * (0.5 - 1 / 3) + 0.25) / 4, rel=TOLERANCE)


def test_weighted_calibration_bins_of_a_worked_example():
    bins = calibration_bins(OF_CLASSES, PROBABILITIES, 2, [3, 1, 2, 0])
    np.testing.assert_allclose(bins.accuracy, [3 / 4, 1], rtol=TOLERANCE)
    assert bins.counts.tolist() == [4, 2]
    assert bins.error == pytest.approx((4 * 0.25 + 2 * 0.25) / 6, rel=TOLERANCE)


def test_an_empty_bin_has_no_mean():
    bins = calibration_bins([1, 0], [1.0, 0.0], bins=4)
    assert np.isnan(bins.accuracy).tolist() == [True, True, True, False]
    assert bins.error == 0


def test_calibration_bins_agree_with_scikit_learn():
    theirs = pytest.importorskip("sklearn.calibration").calibration_curve
    rng = np.random.default_rng(0)
    guess = rng.dirichlet(np.ones(4), 500)
    y_true = rng.integers(0, 4, 500)
    bins = calibration_bins(y_true, guess, bins=12)
    classes, confidence = winners(guess)
    expected = theirs(classes == y_true, confidence, n_bins=12)
    filled = bins.counts > 0
    # Sums of a few hundred numbers in another order.
    means = bins.accuracy[filled], bins.confidence[filled]
    np.testing.assert_allclose(means, expected, rtol=2 * TOLERANCE)


@each_of_probabilities
@pytest.mark.parametrize(
    ("y_true", "probabilities", "error", "message"),
    [
        ([0], [["a", "b"]], TypeError, "probabilities has dtype <U1; need numbers"),
        ([0], 0.5, ValueError, r"probabilities has shape \(\); need \(n, classes\), or \(n,\)"),
        ([0], [[]], ValueError, r"probabilities has shape \(1, 0\)"),
        ([0], [[1.5, 0.5]], ValueError, "probabilities holds 0.5 to 1.5; need 0 to 1"),
        ([0], [[-0.5, 1]], ValueError, "probabilities holds -0.5 to 1"),
        ([0], [[np.nan, 1]], ValueError, "probabilities holds nan"),
        ([0, 1], [[1, 0]], ValueError, "probabilities has 1 rows; need 2, as y_true"),
        ([2], [[1, 0]], ValueError, "y_true holds 2; need 0 to 1, as probabilities are of 2"),
        ([2], [0.5], ValueError, "y_true holds 2; need 0 to 1"),
        ([-1], [[1, 0]], ValueError, "y_true holds -1 to -1"),
        ([0.0], [[1, 0]], TypeError, "y_true has dtype float64; need integers"),
        (["a"], [[1, 0]], TypeError, r"need integers or bools, as np.unique\(labels, return_inv"),
    ],
)
def test_bad_probabilities_are_refused_by_name(score, y_true, probabilities, error, message):
    with pytest.raises(error, match=message):
        score(y_true, probabilities)


def test_log_loss_refuses_rows_that_do_not_sum_to_1():
    with pytest.raises(ValueError, match=r"probabilities of row 1 sum to 0\.9; need 1"):
        log_loss([0, 0], [[0.5, 0.5], [0.5, 0.4]])


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (0, ValueError, "k is 0; need 1 to 3, the number of classes"),
        (4, ValueError, "k is 4"),
        (1.0, TypeError, "integer"),
    ],
)
def test_k_must_be_an_integer_of_at_most_the_classes(k, error, message):
    with pytest.raises(error, match=message):
        top_k_accuracy(OF_CLASSES, PROBABILITIES, k)


@pytest.mark.parametrize(("bins", "error"), [(0, ValueError), (2.0, TypeError)])
def test_bins_must_be_a_positive_integer(bins, error):
    with pytest.raises(error):
        calibration_bins(OF_CLASSES, PROBABILITIES, bins)


# Several labels a row

LABELS_TRUE = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
LABELS_PRED = [[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]]


def test_multilabel_scores_of_a_worked_example():
    # Two rows are right; the labels' F1 are 2*2/(2+3), 2*1/(2+1), and 0 of what never occurs.
    expected = 2 / 4, (4 / 5 + 2 / 3 + 0) / 3
    assert multilabel_scores(LABELS_TRUE, LABELS_PRED) == pytest.approx(expected, abs=TOLERANCE)


def test_weighted_multilabel_scores_of_a_worked_example():
    # Label 0: hits 1 + 2, predicted 1 + 2 + 3, true 1 + 2. Label 1: hits 3, predicted 3, true 5.
    expected = 1 / 6, (2 * 3 / 9 + 2 * 3 / 8 + 0) / 3
    scores = multilabel_scores(LABELS_TRUE, LABELS_PRED, [1, 2, 3, 0])
    assert scores == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_multilabel_scores_take_any_type(dtype):
    arrays = np.array(LABELS_TRUE, dtype), np.array(LABELS_PRED, dtype)
    assert multilabel_scores(*arrays) == multilabel_scores(LABELS_TRUE, LABELS_PRED)


# Numbers

NUMBERS_TRUE = [[1.0, 10.0], [2.0, 10.0], [3.0, 40.0]]
NUMBERS_PRED = [[1.0, 14.0], [2.0, 10.0], [5.0, 37.0]]
# By output: errors 0, 0, 2 and 4, 0, -3; squares about the means 2 and 20 add up to 2 and 600.
NUMBER_SCORES = [
    (r2, ((1 - 4 / 2) + (1 - 25 / 600)) / 2),
    (mae, (2 / 3 + 7 / 3) / 2),
    (rmse, (np.sqrt(4 / 3) + np.sqrt(25 / 3)) / 2),
]
# With the weights 2, 1, 1: means 7/4 and 35/2, squares about them 11/4 and 675.
WEIGHTED_SCORES = [
    (r2, ((1 - 4 / (11 / 4)) + (1 - 41 / 675)) / 2),
    (mae, (2 / 4 + 11 / 4) / 2),
    (rmse, (np.sqrt(4 / 4) + np.sqrt(41 / 4)) / 2),
]
each_number_score = pytest.mark.parametrize("score", [r2, mae, rmse])


@pytest.mark.parametrize(("score", "expected"), NUMBER_SCORES)
def test_scores_of_numbers_of_a_worked_example(score, expected):
    assert score(NUMBERS_TRUE, NUMBERS_PRED) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize(("score", "expected"), WEIGHTED_SCORES)
def test_weighted_scores_of_numbers_of_a_worked_example(score, expected):
    assert score(NUMBERS_TRUE, NUMBERS_PRED, [2, 1, 1]) == pytest.approx(expected, rel=TOLERANCE)


@each_number_score
def test_one_column_scores_as_a_vector_does(score):
    true, pred = np.array(NUMBERS_TRUE)[:, 0], np.array(NUMBERS_PRED)[:, 0]
    assert score(true, pred) == score(true[:, None], pred[:, None])


@each_number_score
def test_integers_are_numbers_that_do_not_wrap(score):
    true, pred = np.array([0, 200, 100], np.uint8), np.array([200, 0, 101], np.uint8)
    assert score(true, pred) == score(true.astype(float), pred.astype(float))


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 + 0.1])
@pytest.mark.parametrize("weights", [None, [0.4, 0.1, 0.2, 0.7], [0, 0.1, 0.2, 0.7]])
@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (1.0, 0.0)])
def test_r2_of_a_constant_is_1_without_an_error_and_else_0(constant, weights, error, expected):
    true = np.full(4, constant)
    if weights and not weights[0]:
        true[0] = 2 * constant + 1e-9  # in a row that does not count
    assert r2(true, true + error, weights) == expected


@pytest.mark.parametrize("weights", [None, "random"])
def test_scores_agree_with_scikit_learn(weights):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    weights = weights and rng.uniform(0.1, 3, 1000)
    more = {"sample_weight": weights}
    y_true, y_pred = rng.integers(0, 10, (2, 1000))
    of_labels = rng.integers(0, 2, (2, 1000, 4))
    numbers = rng.normal([5, -2, 0], size=(2, 1000, 3))
    theirs = [
        sklearn_metrics.accuracy_score(y_true, y_pred, **more),
        sklearn_metrics.f1_score(y_true, y_pred, average="macro", **more),
        sklearn_metrics.accuracy_score(*of_labels, **more),
        sklearn_metrics.f1_score(*of_labels, average="macro", **more),
        sklearn_metrics.r2_score(*numbers, **more),
        sklearn_metrics.mean_absolute_error(*numbers, **more),
        sklearn_metrics.root_mean_squared_error(*numbers, **more),
    ]
    ours = [
        accuracy(y_true, y_pred, weights),
        macro_f1(y_true, y_pred, weights=weights),
        *multilabel_scores(*of_labels, weights),
        *(score(*numbers, weights) for score in (r2, mae, rmse)),
    ]
    # Sums of a thousand numbers in another order: an ulp for each of about sqrt(1000) / 2.
    np.testing.assert_allclose(ours, theirs, rtol=2 * TOLERANCE, atol=0)
    np.testing.assert_allclose(
        confusion_matrix(y_true, y_pred, weights=weights),
        sklearn_metrics.confusion_matrix(y_true, y_pred, **more),
        rtol=TOLERANCE,
    )


@pytest.mark.parametrize(
    "score",
    [
        *[accuracy, confusion_matrix, macro_f1, precision, recall, f1, multilabel_scores],
        *[top_k_accuracy, log_loss, calibration_bins, r2, mae, rmse],
    ],
)
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"weights has shape \(2,\); need \(3,\) of numbers"),
        (1.0, r"weights has shape \(\)"),
        ([["1"], ["1"], ["1"]], r"weights has shape \(3, 1\)"),
        (["1", "1", "1"], "need .* of numbers"),
        ([1, -1, 1], "weights must be finite, 0 or more"),
        ([1, np.nan, 1], "weights must be finite"),
        ([1, np.inf, 1], "weights must be finite"),
        ([0, 0, 0], "not all 0"),
    ],
)
def test_bad_weights_are_refused(score, weights, message):
    y = np.zeros((3, 1), int) if score is multilabel_scores else np.zeros(3, int)
    with pytest.raises(ValueError, match=message):
        score(y, y, weights=weights)


@each_number_score
@pytest.mark.parametrize(
    ("y_true", "y_pred", "error", "message"),
    [
        (["a"], [1.0], TypeError, "y_true has dtype <U1; need numbers"),
        ([1.0], [1j], TypeError, "y_pred has dtype complex128; need numbers"),
        ([], [], ValueError, r"y_true has shape \(0,\)"),
        (1.0, 1.0, ValueError, r"y_true has shape \(\)"),
        ([1.0, np.nan], [1.0, 2.0], ValueError, "y_true must be finite"),
        ([1.0, 2.0], [1.0, np.inf], ValueError, "y_pred must be finite"),
        ([1.0, 2.0], [1.0], ValueError, r"y_pred has shape \(1,\); need \(2,\), as y_true"),
        ([1.0, 2.0], [[1.0], [2.0]], ValueError, r"y_pred has shape \(2, 1\); need \(2,\)"),
    ],
)
def test_bad_numbers_are_refused_by_name(score, y_true, y_pred, error, message):
    with pytest.raises(error, match=message):
        score(y_true, y_pred)


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        ([0, 1], [0, 1], r"y_true has shape \(2,\); need \(n, labels\)"),
        (np.empty((0, 2)), np.empty((0, 2)), r"y_true has shape \(0, 2\)"),
        ([[0, 2]], [[0, 1]], "y_true has shape .* of 0 and 1"),
        ([[0, 1]], [[0, 0.5]], "y_pred has shape .* of 0 and 1"),
        ([[0, 1]], [[0, 1], [1, 1]], r"y_pred has shape \(2, 2\); need \(1, 2\), as y_true"),
    ],
)
def test_bad_arrays_of_labels_are_refused_by_name(y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        multilabel_scores(y_true, y_pred)


@pytest.mark.parametrize("power", [-1000, -540, 540, 1000])
def test_scores_of_numbers_do_not_depend_on_their_size(power):
    """A power of two rounds nothing, and squares would overflow or vanish."""
    rng = np.random.default_rng(0)
    true, pred = rng.normal(size=(2, 30, 3))
    large_true, large_pred = np.ldexp(true, power), np.ldexp(pred, power)
    assert r2(large_true, large_pred) == r2(true, pred)
    assert rmse(large_true, large_pred) == np.ldexp(rmse(true, pred), power)
    assert r2(true, large_pred) in (-np.inf, r2(true, np.zeros_like(true)))
