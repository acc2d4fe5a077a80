"""Multi-layer perceptrons in ONNX files, of fastnn and of other libraries."""

from fastnn.conversion.onnx.reading import load

__all__ = ["load"]
