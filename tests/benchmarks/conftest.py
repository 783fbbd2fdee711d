import jax
import pytest


@pytest.fixture(autouse=True)
def recorded_programs():
    """The programs of benchmarks stay as they were recorded, promotions included."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
