"""Benchmarks: whole commands, side by side in one run, medians and ratios. Nothing here asserts a time."""
