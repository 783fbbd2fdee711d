"""One's own files: folders, tables, arrays, masks, and formats of objects."""
