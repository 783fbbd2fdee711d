"""What may be wrong with a data set: images, copies and labels worth a second look.

Needs the extra `quality` (cleanvision, cleanlab).  `report.make` is the whole of it.
"""
