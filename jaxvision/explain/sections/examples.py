"""The data as it sees them: what excites its units, and all examples in a plane."""

import io
from collections.abc import Iterator, Sequence

import numpy as np

from jaxvision import data, visualise
from jaxvision.data.feed.preparation import Picture
from jaxvision.data.source import Source
from jaxvision.explain.exciting import exciting
from jaxvision.explain.projection import projection
from jaxvision.explain.subject import Subject, captioned, heading
from jaxvision.visualise import page

NAME, TITLE = "data", "The data as it sees them"

_UNITS, _EXAMPLES = 6, 8
"""Channels that are shown, and examples for each."""

FEATURES = "pre_logits"
"""What class scores are computed from."""


def section(subject: Subject, dataset: str) -> Iterator[page.Element]:
    """Of the first test images of a data set."""
    source: Source = data.load(dataset).test
    count = min(source.size, subject.options.examples)
    subject.tell(f"looking at {count:,} examples of {dataset}")
    pictures = _pictures(source, count)
    wanted = (subject.layer, FEATURES)
    names = [name for name in wanted if name is not None and name in subject.net.shapes]
    if not names:
        return
    yield heading(TITLE, NAME)
    prediction = subject.net.predictor.prediction(names, predicts=False)
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for batch in prediction.batches(pictures, 64):
        for name, collected in found.items():
            collected.append(batch[name])
    if subject.layer is not None:
        yield from _exciting(subject, subject.layer, found[subject.layer], pictures)
    targets = source.targets() if source.targets is not None else source.read()
    if FEATURES in found and "label" in targets:
        subject.tell("projecting features")
        labels = np.asarray(targets["label"])[:count]
        yield _projected(subject, np.concatenate(found[FEATURES]), labels)


def _pictures(source: Source, count: int) -> list[Picture]:
    if source.encoded is not None:
        return [source.encoded(i) for i in range(count)]
    return list(source.read()["image"][:count])


def _exciting(
    subject: Subject,
    layer: str,
    batches: Sequence[np.ndarray],
    pictures: Sequence[Picture],
) -> Iterator[page.Element]:
    net = subject.net
    found = exciting(batches, _EXAMPLES)
    yield page.element(
        "p",
        f"Those of the first {len(pictures):,} test images in which a channel of "
        f"{layer} has its largest values.",
    )
    figures = []
    for unit in np.argsort(-found.values[:, 0], kind="stable")[:_UNITS].tolist():
        chosen = found.examples[unit].tolist()
        images = net.predictor.preparation.images([pictures[i] for i in chosen])
        small = [visualise.enlarged(each, 96) for each in net.seen(net.images(images))]
        figures.append(
            captioned(
                page.image(
                    visualise.encoded(visualise.sheet(small, _EXAMPLES)),
                    f"examples that excite channel {unit} of {layer}",
                ),
                f"channel {unit}",
                f"of {layer}: test images {', '.join(map(str, chosen))}",
            )
        )
    yield page.figures(figures)


def _projected(
    subject: Subject, features: np.ndarray, labels: np.ndarray
) -> page.Element:
    figure = visualise.projected(
        [
            ("Along the two directions of most variance", projection(features)),
            (
                "Neighbours kept together (t-SNE)",
                projection(features, "tsne", seed=subject.options.seed),
            ),
        ],
        labels,
        subject.net.predictor.classes,
    )
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, facecolor="white")
    shown = page.image(stream.getvalue(), "test images as points in a plane")
    words = (
        f"of {len(labels):,} test images, in the colours of their classes: along the "
        "two directions of most variance, and with neighbours kept together (t-SNE)."
    )
    return page.figures([captioned(shown, FEATURES, words)])
