"""Streams: data that come block by block, because they do not fit into memory."""

from fastnn.streams.stream import Block, Part, Stream

__all__ = ["Block", "Part", "Stream"]
