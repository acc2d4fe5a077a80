"""The compiled backend: a plan of what is computed where, kernels, and their machinery."""
