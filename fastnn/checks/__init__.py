"""Checks of arguments. Each error names the argument, what it got and what it needs."""
