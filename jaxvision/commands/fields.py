"""The picture of `python -m jaxvision models NAME --fields FILE`."""

import math
from pathlib import Path

import jax
import numpy as np

from jaxvision import models, visualise
from jaxvision.errors import UsageError, check
from jaxvision.models import measures
from jaxvision.ops.receptive_field import effective_field, extent
from jaxvision.paths import named_leaves

MOST = 6
"""Maps that are drawn: those that see most."""


def draw(name: str, path: Path, *, seed: int = 0) -> None:
    """What the middle of each map of a model sees of the image, in theory and in effect
    of random weights and noise.

    Raises `UsageError` for a model without maps, and a file that cannot be written.
    """
    theory = measures.receptive_fields(name, squeeze=False)
    check((bool(theory), f"{name} has no maps whose fields could be drawn"))
    height, width, channels = models.default_input(name)
    keys = jax.random.split(jax.random.key(seed))
    images = jax.random.normal(keys[0], (2, height, width, channels))
    model = models.create(name)
    variables = jax.jit(model.init)(keys[1], images)

    def outputs(variables, images):
        return named_leaves(model.apply(variables, images)[0])

    shapes = jax.eval_shape(outputs, variables, images)
    panels = {}
    for key in sorted(theory, key=lambda key: theory[key].size)[-MOST:]:
        rows, columns = (n // 2 for n in shapes[key].shape[1:3])

        @jax.jit
        def field(variables, images, key=key, position=(rows, columns)):
            return effective_field(
                lambda x: outputs(variables, x)[key], images, position
            )

        found = np.asarray(field(variables, images))
        seen = theory[key]
        whole = (0.0, 0.0, float(width), float(height))
        bounded = all(0 < size < math.inf for size in seen.size)
        panels[key] = visualise.Seen(
            found, seen.box(rows, columns) if bounded else whole, extent(found).side
        )
    try:
        visualise.save(visualise.receptive_field(panels), path)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; choose another --fields"
        ) from error
    print(f"{path}: what the middle of {len(panels)} maps of {name} sees")
