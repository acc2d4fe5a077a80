"""The model: what a network is, as plain data, and its file format."""
