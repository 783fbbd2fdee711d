"""Text files that are written whole or not at all."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Put `text` in place of what `path` holds; a crash leaves the old or the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
