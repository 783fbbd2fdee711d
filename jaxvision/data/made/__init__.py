"""Sets whose images are made: of nothing, of digits, of signals; or embedded."""
