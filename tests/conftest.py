"""Every test sees eight devices, so that sharding mistakes show on a laptop.

And compiles without oneDNN, so that programs come from the cache: most runs here are of
a few steps.  Experiments in processes of their own and the tests of `onednn` have it.
"""

import os

import pytest

# Nothing is broadcast to more axes and no type is promoted without saying so.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
# Before JAX is imported, which is not before the first test module.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_experimental_onednn_custom_call=false"
)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """One cache for the session and its subprocesses, apart from the user's own."""
    from jaxvision.engine.compilation import enable_cache

    folder = tmp_path_factory.mktemp("xla")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    enable_cache()
    return folder
