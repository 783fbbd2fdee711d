"""Checking a data set: odd images, copies and doubtful labels.

Needs the extra `quality` (cleanvision, cleanlab).  `report.make` does all of it.
"""
