"""One page about what a network sees: self-contained, to be sent to somebody."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from jaxvision.data.feed.preparation import Picture
from jaxvision.errors import check, unknown
from jaxvision.explain.network import network
from jaxvision.explain.sections import examples, layers, units, why
from jaxvision.explain.sections import network as network_section
from jaxvision.explain.subject import Options, Shown, Subject
from jaxvision.runs import Predictor
from jaxvision.runs.predictor import compiled
from jaxvision.visualise import page


def make(
    predictor: Predictor,
    output: Path,
    *,
    title: str,
    pictures: Sequence[tuple[str, Picture]] = (),
    dataset: str | None = None,
    run: Path | None = None,
    options: Options | None = None,
    tell: Callable[[str], None] = lambda doing: None,
) -> None:
    """Write the page `output`.

    Args:
      title: what the page calls the network.
      pictures: names and contents of the images to be explained.
      dataset: whose worst mistakes are explained as well, with the examples that excite
        the units of a layer, and all of them in a plane.
      run: a run directory, whose checkpoints show how filters have changed; None: it
        has none.
      tell: is called with what is being done.

    Raises `UsageError` for pictures that cannot be read, for a layer, a class and a
    pixel that do not exist, for a data set of other classes, and for a network of whose
    outputs nothing can be explained.
    """
    options = options or Options()
    check(
        (
            bool(pictures) or dataset is not None,
            "which images: give pictures, or a data set",
        ),
        (options.worst >= 0, f"worst must not be negative, got {options.worst}"),
        (options.steps >= 0, f"steps must not be negative, got {options.steps}"),
        (options.examples >= 8, f"examples must be 8 or more, got {options.examples}"),
        (
            output.parent.is_dir(),
            f"cannot write {output.name}: the folder {output.parent} does not exist",
        ),
    )
    net = network(predictor)
    if options.layer is not None and options.layer not in net.shapes:
        raise unknown("layer", options.layer, net.shapes)
    number = _number(predictor.classes, options.of_class)
    tell("predicting")
    shown = _given(predictor, pictures)
    if dataset is not None and options.worst:
        shown += _worst(predictor, dataset, options.worst)
    check((bool(shown), "there is no image to explain: give pictures, or --worst 1"))
    subject = Subject(net, title, options.layer, number, options, run, tell)
    parts = [subject.part(each) for each in shown]
    subject = subject._replace(layer=subject.layer_of(shown[0], parts[0]))
    sections: dict[tuple[str, str], Iterable[page.Element]] = {
        _about(network_section): network_section.section(subject),
        _about(why): why.section(subject, list(zip(shown, parts, strict=True))),
        _about(layers): layers.section(subject, shown[0]),
    }
    if options.steps:
        sections[_about(units)] = units.section(subject, shown[0])
    if dataset is not None:
        sections[_about(examples)] = examples.section(subject, dataset)
    made = {about: list(section) for about, section in sections.items()}
    body = [_contents([about for about, found in made.items() if found])]
    body += [each for found in made.values() for each in found]
    page.write(output, f"What {title} sees", body)


def _about(section) -> tuple[str, str]:
    return section.NAME, section.TITLE


def _contents(sections: Iterable[tuple[str, str]]) -> page.Element:
    links = [
        page.element("li", page.element("a", title, href=f"#{name}"))
        for name, title in sections
    ]
    return page.element("nav", page.element("ul", *links), **{"aria-label": "Contents"})


def _number(classes: Sequence[str], name: str | None) -> int | None:
    if name is None:
        return None
    if name not in classes:
        raise unknown("class", name, classes)
    return list(classes).index(name)


def _given(
    predictor: Predictor, pictures: Sequence[tuple[str, Picture]]
) -> list[Shown]:
    if not pictures:
        return []
    images = predictor.preparation.images([content for _, content in pictures])
    names = [name for name, _ in pictures]
    return _shown(predictor, names, images, [None] * len(names))


def _worst(predictor: Predictor, dataset: str, count: int) -> list[Shown]:
    worst = predictor.galleries(dataset).worst
    shape = (*predictor.preparation.crop.size, predictor.preparation.channels)
    images = worst.example["image"][:count]
    if images.shape[1:] != shape:
        images = predictor.preparation.images(list(images))
    names = [
        f"worst {i}: {dataset} test[{number}]"
        for i, number in enumerate(worst.indices[:count].tolist(), 1)
    ]
    labels = worst.example.get("label", np.full(len(worst.indices), None))
    return _shown(predictor, names, images, labels[:count].tolist())


def _shown(
    predictor: Predictor,
    names: Sequence[str],
    images: np.ndarray,
    labels: Sequence[int | None],
) -> list[Shown]:
    """The images as they were prepared, and what is predicted of each where it is."""
    prediction = predictor.prediction()
    program = compiled(prediction.call)
    found = []
    for i, (name, image, label) in enumerate(zip(names, images, labels, strict=True)):
        arrays = (prediction.variables, prediction.frozen, image[None], np.int32(i))
        one = {key: np.asarray(each)[0] for key, each in program(*arrays).items()}
        found.append(Shown(name, image, one, label))
    return found
