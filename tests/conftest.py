"""Every test sees eight devices, so that sharding mistakes show on a laptop.

And compiles without oneDNN, so that programs come from the cache: most runs here are of
a few steps.  Experiments in processes of their own and the tests of `onednn` have it.

Programs are compiled fast rather than to be fast, in processes of their own as well:
most run once or for a few steps, and compiling them was what most tests spent their
time on.  HLO's passes (fusion, partitioning, oneDNN) stay as they are; LLVM's are left
out, which vectorise loops.
"""

import os

import pytest

# Nothing is broadcast to more axes and no type is promoted without saying so.
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
# Before JAX is imported, which is not before the first test module.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_experimental_onednn_custom_call=false"
)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """One cache for all processes of the session, apart from the user's own."""
    import jax

    from jaxvision.engine.compilation import enable_cache

    # By the flags above, before a test changes them: the devices stay as they are then.
    assert len(jax.devices()) == 8

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the session, where each worker has one
    folder = folder / "xla"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    enable_cache()
    return folder
