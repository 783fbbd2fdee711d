"""Signals as images: sounds, series, binary files, and tracks of a mouse or a pen.

`sounds:PATH`, `series:PATH`, `binaries:PATH` and `tracks:PATH` are one's own files;
`sounds:drums`, `series:GunPoint`, `binaries:installed` and `tracks:pendigits` are real
ones that come inside Python packages, so that each kind can be tried without a
download.  The functions that make the images are in `ops`.
"""
