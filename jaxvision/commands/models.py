"""`python -m jaxvision models`."""

import tyro


def models(pattern: tyro.conf.Positional[str | None] = None) -> None:
    """List the models with what they cost and see, or the layers of one.

    Sees: pixels along a side that a position of the last map depends on. Weights:
    whose files can be read; a star marks those that can be downloaded.

    Args:
        pattern: A name, whose layers are listed, or a part of names or a pattern with
            `*` that says which models are. Default: all.
    """
    from jaxvision.commands import model_table

    names = model_table.matching(pattern)
    if pattern in names:
        model_table.show(model_table.layer_table(pattern))
    else:
        model_table.show(model_table.overview(names))
