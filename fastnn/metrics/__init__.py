"""Scores of predicted classes, of their probabilities, and of predicted numbers."""

from fastnn.metrics.checks import check_classes
from fastnn.metrics.classes import (
    accuracy,
    confusion_matrix,
    f1,
    macro_f1,
    multilabel_scores,
    precision,
    precision_recall_f1,
    recall,
)
from fastnn.metrics.probabilities import (
    Calibration,
    calibration_bins,
    log_loss,
    top_k_accuracy,
    winners,
)
from fastnn.metrics.regression import mae, r2, rmse

__all__ = [
    "Calibration",
    "accuracy",
    "calibration_bins",
    "check_classes",
    "confusion_matrix",
    "f1",
    "log_loss",
    "macro_f1",
    "mae",
    "multilabel_scores",
    "precision",
    "precision_recall_f1",
    "r2",
    "recall",
    "rmse",
    "top_k_accuracy",
    "winners",
]
