"""Experiments: one function each, whose docstring promises the command, the cost and the expected number."""
