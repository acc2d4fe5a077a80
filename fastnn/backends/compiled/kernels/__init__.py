"""The kernels: what is computed, to be read without the machinery."""
