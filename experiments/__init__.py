"""Experiments: one file each, launched as `python -m experiments.<name>`."""

import sys

if sys.argv[:1] == ["-m"]:  # Python is about to run one, and imports this first
    from jaxvision.notices import end_at_notice

    end_at_notice()  # a scheduler may want the machine back during the imports
