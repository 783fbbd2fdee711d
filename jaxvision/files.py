"""Files: text that is written whole or not at all, and where caches are kept."""

import os
import sys
from pathlib import Path


def user_cache() -> Path:
    """Our folder among the user's caches; it may not exist yet."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "jaxvision"


def replace_text(path: Path, text: str) -> None:
    """Put `text` in place of what `path` holds; a crash leaves the old or the new."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
