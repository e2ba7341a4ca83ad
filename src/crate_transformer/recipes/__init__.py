"""Experiments of the papers as recipes, with settings, cost and expected results."""
