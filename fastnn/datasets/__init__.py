"""Data sets: read CSV, NPZ, svmlight, IDX, MNIST, pictures and streams; describe; submissions."""

from fastnn.datasets.arrays import read_npz
from fastnn.datasets.columns import Split, Table
from fastnn.datasets.delimited import read_csv
from fastnn.datasets.description import ClassCount, Description, Statistics, describe
from fastnn.datasets.idx import read_idx
from fastnn.datasets.images import Images, read_images
from fastnn.datasets.loading import load
from fastnn.datasets.mnist import Mnist, load_mnist
from fastnn.datasets.spreadsheets import Column, Columns, read_columns
from fastnn.datasets.streams import stream
from fastnn.datasets.submission import write_submission
from fastnn.datasets.svmlight import read_svmlight

__all__ = [
    "ClassCount",
    "Column",
    "Columns",
    "Description",
    "Images",
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
    "read_images",
    "read_npz",
    "read_svmlight",
    "stream",
    "write_submission",
]
