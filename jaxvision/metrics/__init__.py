"""Metrics as sums: added over examples, batches, devices and hosts, divided once."""
