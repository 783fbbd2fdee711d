"""Predictions over HTTP: requests that wait at the same time are computed together."""
