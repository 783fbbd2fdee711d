"""The sections of the page that `report` writes, a file for each."""
