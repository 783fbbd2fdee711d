"""`python -m jaxvision models`."""

from pathlib import Path

import tyro

from jaxvision.errors import UsageError


def models(
    pattern: tyro.conf.Positional[str | None] = None, fields: Path | None = None
) -> None:
    """List the models with what they cost and see, or the layers of one.

    Receptive field: pixels along a side that a position of the last map depends on. Of
    layers: how many pixels each position sees, every how many pixels the next position,
    and from which pixel on the first. Weights: whose files can be read; a star marks
    those that can be downloaded.

    Args:
        pattern: A name, whose layers are listed, or a part of names or a pattern with
            `*` that says which models are. Default: all.
        fields: Of one model, draw what its maps see of the image into this PNG file, in
            theory and in effect of random weights.
    """
    from jaxvision.commands import model_table

    names = model_table.matching(pattern)
    if pattern in names:
        model_table.show(model_table.layer_table(pattern))
        print(model_table.memory(pattern))
        if fields is not None:
            from jaxvision.commands.fields import draw

            draw(pattern, fields)
    elif fields is not None:
        raise UsageError("--fields draws one model: give its whole name")
    else:
        model_table.show(model_table.overview(names))
