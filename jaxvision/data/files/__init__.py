"""Sets made of the user's files: folders, tables, arrays, masks, and object formats."""
