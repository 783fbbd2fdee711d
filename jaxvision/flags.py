"""What XLA must be told by the environment before it starts.

XLA's wheels for x86 have oneDNN inside, the library that PyTorch computes convolutions
with on CPU, and leave it unused.  With it they run up to 20 times as fast
(`jaxvision.ops.convolution`).  XLA reads its flags once, when JAX first touches a
device, so they are set when this package is imported; if that is too late, or another
hand has set one of them, all works as it does without.
"""

import importlib.util
import os
import platform
import warnings
from importlib import metadata

ONEDNN = {
    "--xla_cpu_experimental_onednn_custom_call": "true",
    # Else YNNPACK takes most convolutions first, and needs twice the time for them.
    "--xla_cpu_experimental_ynn_fusion_type": "-individual_convolution",
}
JAXLIB = ("0.12",)
"""Versions that were tried.  A flag that XLA does not know ends the process, and
experimental flags come and go."""


NOT_CACHED = "Error writing persistent compilation cache entry .*std::bad_alloc"


def ask_for_onednn() -> None:
    """Add the flags to `XLA_FLAGS` where they are known to help and to do no harm."""
    flags = os.environ.get("XLA_FLAGS", "")
    if (
        not any(name in flags for name in ONEDNN)
        and platform.system() == "Linux"
        and platform.machine() == "x86_64"
        and _version("jaxlib") in JAXLIB
        # The plugin of an accelerator reads the flags as well, in its own version.
        and (_runs_on_cpu_alone() or not _has_plugins())
    ):
        asked = [f"{name}={value}" for name, value in ONEDNN.items()]
        os.environ["XLA_FLAGS"] = " ".join([*flags.split(), *asked])
        # XLA cannot write a program that calls oneDNN to the disk, so each launch
        # compiles its own.  JAX would say so for every one.
        warnings.filterwarnings("ignore", NOT_CACHED, UserWarning)


def _version(package: str) -> str | None:
    """`"0.12.1" -> "0.12"`."""
    try:
        return ".".join(metadata.version(package).split(".")[:2])
    except metadata.PackageNotFoundError:
        return None


def _runs_on_cpu_alone() -> bool:
    return os.environ.get("JAX_PLATFORMS") == "cpu"


def _has_plugins() -> bool:
    return any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
