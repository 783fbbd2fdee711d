"""Benchmarks: one file for each question, run as `python -m benchmarks.<name>`.

`peers/` holds the PyTorch and TensorFlow programs that they compare with, `results/`
the recorded numbers.
"""
