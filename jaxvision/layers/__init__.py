"""Linen modules that two models or more share."""
