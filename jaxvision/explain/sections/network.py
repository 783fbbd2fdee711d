"""The network itself: its volumes, and the filters that meet the image."""

from collections.abc import Iterator

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.explain.filters import filters_over_training, first_filters
from jaxvision.explain.subject import Subject, captioned, heading
from jaxvision.runs.finished import variables_of_steps
from jaxvision.visualise import page

NAME, TITLE = "network", "The network"

_FILTERS = 64
"""That are shown, at most."""


def section(subject: Subject) -> Iterator[page.Element]:
    """What it is made of."""
    net, model = subject.net, subject.net.predictor.model
    yield heading(TITLE, NAME)
    height, width, channels = net.black.shape
    drawn = {k: shape for k, shape in net.shapes.items() if len(shape) in (1, 3)}
    layers = {"image": (height, width, channels), **drawn}
    yield page.element("p", visualise.volumes(layers, f"The layers of {subject.title}"))
    subject.tell("looking at filters")
    try:
        filters = first_filters(model, net.variables, (height, width, channels))
    except UsageError:
        return  # it begins with something else
    count = filters.shape[-1]
    size = "×".join(map(str, filters.shape[:2]))
    few = f", the first {_FILTERS} shown" if count > _FILTERS else ""
    neutral = "grey" if filters.shape[2] == 3 else "white"
    sheet = visualise.filter_sheet(filters[..., :_FILTERS], 16)
    figures = [
        captioned(
            page.image(
                visualise.encoded(sheet), f"{min(count, _FILTERS)} filters as pictures"
            ),
            "First filters.",
            f"{count} of {size} pixels{few}; {neutral} is 0.",
        )
    ]
    steps_kept = variables_of_steps(subject.run) if subject.run is not None else []
    if len(steps_kept) > 1:
        moments = filters_over_training(model, steps_kept, (height, width, channels))
        frames = [
            visualise.filter_sheet(weights[..., :_FILTERS], 16)
            for _, weights in moments
        ]
        steps = ", ".join(f"{step:,}" for step, _ in moments)
        figures.append(
            captioned(
                page.image(
                    visualise.gif(frames),
                    "the same filters, one checkpoint after the other",
                ),
                "Over the training.",
                f"At the steps {steps}, whose checkpoints the run has kept.",
            )
        )
    yield page.figures(figures)
