"""Compilation: cached on the disk across runs, and timed apart from the training."""

import os
import threading
import warnings
from pathlib import Path

import jax

from jaxvision.files import user_cache


def cache_folder() -> Path:
    """`JAX_COMPILATION_CACHE_DIR`, or `xla` in our folder of the user's cache."""
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    return Path(folder) if folder else user_cache() / "xla"


def enable_cache() -> Path | None:
    """Keep compiled programs on the disk; None if that folder cannot be written."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # XLA cannot write programs that call oneDNN, and JAX would say so for each.
    unable = "Error writing persistent compilation cache entry .*std::bad_alloc"
    warnings.filterwarnings("ignore", unable, UserWarning)
    # By default only programs that took a second or more are kept.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def for_one_run() -> dict[str, int]:
    """Options of `jax.jit` for a program that is run a single time.

    XLA's last optimisations on CPU spend two seconds on the draw of a single 3×3
    kernel, which is none the faster for it and has the same bits without them.
    """
    cpu = jax.default_backend() == "cpu"
    return {"xla_backend_optimization_level": 1} if cpu else {}


class CompileClock:
    """Seconds that JAX has spent on tracing, lowering and compiling since it began.

    Only for the thread that made the clock, whose run it is.
    """

    def __init__(self):
        self.seconds = 0.0
        self._thread = threading.get_ident()
        jax.monitoring.register_event_duration_secs_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **_) -> None:
        mine = threading.get_ident() == self._thread
        if mine and event.startswith("/jax/core/compile/"):
            self.seconds += duration_secs

    def __call__(self) -> float:
        return self.seconds
