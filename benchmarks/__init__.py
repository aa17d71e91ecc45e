"""Benchmarks: timings and comparisons, never tests."""
