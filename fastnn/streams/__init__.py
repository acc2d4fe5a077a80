"""Streams: data that come block by block, because they do not fit into memory."""

from fastnn.streams.sources import stream
from fastnn.streams.stream import Part, Stream

__all__ = ["Part", "Stream", "stream"]
