"""Data sets: read CSV, NPZ, IDX and MNIST, describe data, write submissions to Kaggle."""

from fastnn.datasets.arrays import read_npz
from fastnn.datasets.columns import Split, Table
from fastnn.datasets.delimited import read_csv
from fastnn.datasets.description import ClassCount, Description, Statistics, describe
from fastnn.datasets.idx import read_idx
from fastnn.datasets.loading import load
from fastnn.datasets.mnist import Mnist, load_mnist
from fastnn.datasets.spreadsheets import Column, Columns, read_columns
from fastnn.datasets.submission import write_submission

__all__ = [
    "ClassCount",
    "Column",
    "Columns",
    "Description",
    "Mnist",
    "Split",
    "Statistics",
    "Table",
    "describe",
    "load",
    "load_mnist",
    "read_columns",
    "read_csv",
    "read_idx",
    "read_npz",
    "write_submission",
]
