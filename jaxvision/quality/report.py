"""The report: a folder with report.html, pictures, report.json and exclusions.txt."""

import functools
import importlib.util
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from jaxvision.data import exclusion, registry
from jaxvision.data.files.decoding import DecodeError
from jaxvision.data.files.image_files import ImageFiles
from jaxvision.data.source import Source, Splits
from jaxvision.errors import UsageError
from jaxvision.files import replace_text
from jaxvision.printing import make_console
from jaxvision.quality import findings
from jaxvision.quality.findings import KINDS, Example, Finding, Judgement, Sheet
from jaxvision.quality.measures import Measures, image_reader, measure
from jaxvision.runs import record
from jaxvision.visualise import page

_PACKAGES = ("cleanlab", "cleanvision")
_SHOWN = 63  # images of each kind in its picture
_LISTED = 500  # of each kind in the table of report.html


class Set(NamedTuple):
    """A data set with a way to look at single images."""

    name: str
    splits: dict[str, Source]
    images: dict[str, Callable[[int], np.ndarray]]
    sheet: Sheet

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.splits["train"].class_names


def make(
    dataset: str,
    output: Path,
    *,
    experiment: str | None = None,
    folds: int = 5,
    options: Sequence[str] = (),
    command: Sequence[str] = (),
    console: Console | None = None,
) -> list[Finding]:
    """Examine all of a data set, and write what was found to the folder `output`.

    Args:
      dataset: as in `--dataset` of the experiments.
      experiment: one such as `"mnist_lenet5"`, as behind `run`, which is trained once
        for each of `folds` to find wrong labels; None: labels are not looked at.
      options: of the experiment's command line.
      command: the command line of this report, to be recorded.

    Raises `UsageError` if the extra `quality` is not installed, and as the data sets,
    the experiment and the file system do.
    """
    check_installed()
    console = console or make_console()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot write to {output} ({error.strerror}): choose another --output"
        ) from error
    origin = record.provenance("jaxvision", list(command))
    whole = _look(dataset, console)
    if experiment is not None and whole.sheet.labels.min() < 0:
        raise UsageError(
            f"{dataset} has no labels, one for each image: remove --labels"
        )
    found, common = findings.find(whole.sheet, _tracker("comparing images", console))
    runs: list[dict[str, Any]] = []
    judgement: Judgement | None = None
    if experiment is not None:
        from jaxvision.quality.crossval import out_of_sample

        workdir = output / "folds" / experiment.rpartition(".")[2]
        believed = out_of_sample(dataset, experiment, folds, options, workdir, console)
        given = whole.sheet.labels[: whole.splits["train"].size]
        doubted, judgement = findings.labels(
            given, believed.probabilities, whole.class_names
        )
        found += doubted
        runs = believed.runs
    found.sort(key=lambda finding: list(KINDS).index(finding.kind))
    _write(whole, found, common, runs, judgement, output, origin)
    return found


def check_installed() -> None:
    """Raises `UsageError` with the command that installs what is missing."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"checking the quality of data needs {' and '.join(missing)}: "
            "pip install 'jaxvision-research[quality]'"
        )


def summary(found: Iterable[Finding]) -> dict[str, str]:
    """The number of findings of each kind, as text."""
    rows = {}
    for kind, of_kind in _by_kind(found).items():
        images = [example for finding in of_kind for example in finding.examples]
        count = Counter({"train": 0, "test": 0})
        count.update(image.split for image in images)
        words = ", ".join(f"{split} {number:,}" for split, number in count.items())
        if len(images) > len(of_kind):
            across = sum(
                len({example.split for example in finding.examples}) > 1
                for finding in of_kind
            )
            words += f", in {len(of_kind):,} groups, {across:,} of them across splits"
        rows[kind] = words
    return rows


def _look(dataset: str, console: Console) -> Set:
    loaded: Splits = registry.load(dataset)
    # Images, labels and the fingerprint: without files each is a look at all there is.
    splits = {
        split: source._replace(read=functools.cache(source.read))
        for split, source in loaded.there().items()
    }
    images = {split: image_reader(source) for split, source in splits.items()}
    labels = [_labels(source) for source in splits.values()]
    parts = [
        measure(images[split], source.size, _tracker(f"looking at {split}", console))
        for split, source in splits.items()
    ]
    sheet = Sheet(
        sizes={split: source.size for split, source in splits.items()},
        measures=_joined(parts),
        labels=np.concatenate(labels),
    )
    return Set(dataset, splits, images, sheet)


def _labels(source: Source) -> np.ndarray:
    """int [N]: the class of each image; -1 where images have no single one."""
    targets = source.targets() if source.targets else source.read()
    return targets.get("label", np.full(source.size, -1))


def _joined(parts: Sequence[Measures]) -> Measures:
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Measures._fields
        if name != "digests"
    }
    digests = [digest for part in parts for digest in part.digests]
    return Measures(digests=digests, **arrays)


def _tracker(doing: str, console: Console) -> Callable[[Iterable, int], Iterable]:
    def progress(work: Iterable, count: int) -> Iterable:
        return track(work, doing, count, console=console, transient=True)

    return progress


def _write(
    whole: Set,
    found: Sequence[Finding],
    common: Mapping[str, float],
    runs: Sequence[Mapping[str, Any]],
    judgement: Judgement | None,
    output: Path,
    origin: Mapping[str, Any],
) -> None:
    digests = {
        split: exclusion.identity(source) for split, source in whole.splits.items()
    }
    content = {
        "dataset": whole.name,
        **{f"{split}_examples": size for split, size in whole.sheet.sizes.items()},
        **{f"{split}_fingerprint": digest for split, digest in digests.items()},
        "summary": summary(found),
        "common": dict(common),
        "fold_runs": [dict(run) for run in runs],
        "judgement": judgement and judgement._asdict(),
        "provenance": origin,
        "findings": [
            findings.as_record(finding)
            | {"files": [_file(whole, example) for example in finding.examples]}
            for finding in found
        ],
    }
    replace_text(output / "report.json", json.dumps(content, indent=1) + "\n")
    replace_text(
        output / "exclusions.txt",
        exclusion.write(
            [(source, digests[split]) for split, source in whole.splits.items()],
            _sections(whole, found),
        ),
    )
    for old in output.glob("*.png"):
        old.unlink()
    for kind, of_kind in _by_kind(found).items():
        _picture(whole, kind, of_kind, output / f"{kind}.png")
    page.write(
        output / "report.html",
        f"Quality of {whole.name}",
        _page(whole, found, common, runs, judgement, output),
    )


def _sections(
    whole: Set, found: Sequence[Finding]
) -> Iterable[tuple[str, Iterable[str]]]:
    """The exclude list by kind; doubtful kinds and test images are in comments."""
    for kind, of_kind in _by_kind(found).items():
        lines = []
        for finding in of_kind:
            certain = KINDS[kind].certain and finding.certain
            leave = set(findings.left_out(finding, whole.sheet))
            for example in finding.examples:
                kept = example.split != "train" and len(finding.examples) == 1
                if example not in leave and not kept:
                    continue
                others = [str(other) for other in finding.examples if other != example]
                file = _file(whole, example)
                line = f"{example} {kind}: {finding.reason}"
                line += f"; as {', '.join(others)}" * bool(others)
                line += f"; {file}" * bool(file)
                lines.append(line if certain and example in leave else f"# {line}")
        yield f"{KINDS[kind].title}: {KINDS[kind].meaning}", lines


def _picture(whole: Set, kind: str, of_kind: Sequence[Finding], path: Path) -> None:
    from jaxvision.visualise import Cell, findings, save

    fitting = max(2, _SHOWN // len(of_kind[0].examples))
    shown, which = list(of_kind), ""
    if len(of_kind) > fitting:  # both ends, to see how far the kind can be trusted
        half = fitting // 2
        shown = [*of_kind[:half], *of_kind[-half:]]
        which = f": the {half} clearest and the {half} weakest of {len(of_kind):,}"
    cells = []
    for finding in shown:
        images: list[np.ndarray | None] = []
        lines = []
        for example in finding.examples[:9]:
            try:
                images.append(whole.images[example.split](example.row))
            except DecodeError:
                images.append(None)
            label = int(whole.sheet.labels[whole.sheet.row(example)])
            given = whole.class_names[label] if label >= 0 else ""
            suggested = []
            if finding.suggested is not None:
                suggested = [f"→ {whole.class_names[finding.suggested]}"]
            lines.append([str(example), given, *suggested, f"{finding.score:.4g}"])
        cells.append(Cell(images, lines))
    title = f"{KINDS[kind].title} in {whole.name}{which}"
    note = f"above each: split and index, label, score ({KINDS[kind].score})"
    save(findings(cells, title=title, note=note), path)


def _page(
    whole: Set,
    found: Sequence[Finding],
    common: Mapping[str, float],
    runs: Sequence[Mapping[str, Any]],
    judgement: Judgement | None,
    output: Path,
) -> Iterable[page.Element]:
    words = summary(found)
    sizes = ", ".join(f"{split} {n:,}" for split, n in whole.sheet.sizes.items())
    yield page.element(
        "p",
        f"{sizes} images. Everything found is in ",
        page.element("code", "report.json"),
        "; ",
        page.element("code", "exclusions.txt"),
        " is a list for ",
        page.element("code", "--exclude"),
        " of an experiment; read and edit it first.",
    )
    yield page.table(
        (page.element("a", KINDS[kind].title, href=f"#{kind}"), words[kind])
        for kind in words
    )
    for kind, share in common.items():
        yield page.element(
            "p",
            f"{KINDS[kind].title}: {share:.0%} of the images, which is a property of "
            "this set; they are not listed.",
        )
    if runs:
        accuracies = ", ".join(f"{run['test_accuracy']:.2%}" for run in runs)
        yield page.element(
            "p",
            f"Labels: {runs[0]['experiment']}, {len(runs)} folds; accuracy on the fold "
            f"held out: {accuracies}.",
        )
    if judgement is not None:
        yield page.element(
            "p",
            "The models are calibrated with a temperature of "
            f"{judgement.temperature:.2f}. ",
            f"{judgement.improbable:,} labels have a probability of at most "
            f"{judgement.threshold:.1g}; if all labels were right, "
            f"{judgement.expected:.1f} would. The list leaves them out, and the others "
            "are suggestions."
            if judgement.improbable
            else "No label is less probable than is to be expected of right ones: all "
            "are suggestions.",
        )
    for kind, of_kind in _by_kind(found).items():
        title = f"{KINDS[kind].title}: {words[kind]}"
        yield page.element("h2", title, id=kind)
        yield page.element("p", f"{KINDS[kind].meaning} Score: {KINDS[kind].score}.")
        yield page.element("p", page.picture(output / f"{kind}.png"))
        listed = of_kind[:_LISTED]
        which = "All of them" if listed == of_kind else f"The first {_LISTED}"
        rows = [
            (
                ", ".join(f"{each} {_file(whole, each)}" for each in finding.examples),
                finding.reason,
            )
            for finding in listed
        ]
        yield page.element("details", page.element("summary", which), page.table(rows))


def _by_kind(found: Iterable[Finding]) -> dict[str, list[Finding]]:
    found = list(found)
    return {
        kind: of_kind
        for kind in KINDS
        if (of_kind := [finding for finding in found if finding.kind == kind])
    }


def _file(whole: Set, example: Example) -> str:
    """The file's path below its set; empty where images have no files of their own."""
    encoded = whole.splits[example.split].encoded
    return encoded.paths[example.row] if isinstance(encoded, ImageFiles) else ""
