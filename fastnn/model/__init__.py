"""The model: a network as plain data, and its file format."""
