"""Readers of data sets: the IDX file format, and MNIST in it."""

from fastnn.datasets.idx import read_idx
from fastnn.datasets.mnist import Mnist, load_mnist

__all__ = ["Mnist", "load_mnist", "read_idx"]
