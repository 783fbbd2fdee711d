"""Experiments: one file each, launched as `python -m experiments.<name>`."""
