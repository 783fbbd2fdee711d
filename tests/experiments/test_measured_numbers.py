"""What an experiment's docstring says it measured is what its published records say.

A docstring has a paragraph that begins with "Measured" and gives test accuracies as
"98.7 %", or "98.25 ± 0.07 %" with the sample standard deviation over seeds.  Where an
experiment has records of several data sets or cases, the words behind a number name
its one, up to the next number; a number behind which none is named is that of the
default data set.  Records of one data set by several configs are left to the docs.
"""

import importlib
import json
import re
import statistics
from collections import defaultdict

import pytest
from test_experiments import NAMES, ROOT

NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?: ± (\d+(?:\.\d+)?))? %")
SEEDS = re.compile(r"\b(one|\d+) seeds?\b")


def published():
    """`experiment -> case or data set -> the headline metric in per cent`."""
    found = defaultdict(lambda: defaultdict(list))
    configs = defaultdict(set)
    for file in sorted((ROOT / "experiments" / "results").glob("*.json")):
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["measures"].get(record["monitor"], {}).get("unit", "%") != "%":
            continue  # steps or an overlap: they are in the table of results
        label = record.get("case") or record["dataset"]
        headline = record[f"test_{record['monitor']}".replace("/", "_")]
        found[record["experiment"]][label].append(100 * headline)
        config = {k: v for k, v in record.items() if k.startswith("config_")}
        config.pop("config_seed", None)
        configs[record["experiment"], label].add(json.dumps(config, sort_keys=True))
    return {
        experiment: {
            label: numbers
            for label, numbers in labels.items()
            if len(configs[experiment, label]) == 1
        }
        for experiment, labels in found.items()
    }


RECORDS = published()


def mistakes(docstring, records, default):
    """Where a docstring departs from the records, in words.

    records: `label -> accuracies`; default: the label of a number without one.
    """
    paragraph = next(
        (p for p in docstring.split("\n\n") if p.startswith("Measured")), ""
    )
    paragraph = " ".join(paragraph.split())
    numbers = list(NUMBER.finditer(paragraph))
    ends = [number.start() for number in numbers[1:]] + [len(paragraph)]
    missing, wrong = set(records), []
    for number, end in zip(numbers, ends, strict=True):
        words = re.findall(r"[\w:/-]+", paragraph[number.end() : end])
        label = next((label for label in records if label in words), default)
        if label not in records:
            wrong.append(f"{number[0]}: no record of {label}")
            continue
        missing.discard(label)
        accuracies = records[label]
        mean, deviation = number.groups()
        if mean != rounded_as(mean, statistics.mean(accuracies)):
            wrong.append(f"{number[0]}: the mean is {statistics.mean(accuracies)}")
        if (deviation is None) != (len(accuracies) == 1):
            wrong.append(f"{number[0]}: there are {len(accuracies)} records")
        elif deviation and deviation != rounded_as(
            deviation, statistics.stdev(accuracies)
        ):
            wrong.append(f"{number[0]}: ± is {statistics.stdev(accuracies)}")
        for seeds in SEEDS.findall(paragraph):
            if len(accuracies) != (1 if seeds == "one" else int(seeds)):
                wrong.append(f"seeds, {seeds}: {len(accuracies)} records of {label}")
    return wrong + [f"nothing is said of {label}" for label in sorted(missing)]


def rounded_as(text, value):
    """`value` with as many decimals as the text has."""
    return f"{value:.{len(text.partition('.')[2])}f}"


@pytest.mark.parametrize("name", sorted(filter(RECORDS.get, RECORDS)))
def test_docstring_agrees_with_the_records(name):
    module = importlib.import_module(f"experiments.{name}")
    # A study has no data set to choose, and one that it is about.
    default = getattr(module.Config(), "dataset", next(iter(RECORDS[name])))
    wrong = mistakes(module.__doc__, RECORDS[name], default)
    assert not wrong, "\n".join(wrong)


def test_records_are_of_experiments():
    assert RECORDS.keys() <= set(NAMES)


RIGHT = {"mnist": [99.3, 99.4, 99.4], "mnist_5k": [98.0, 98.5, 99.0]}


@pytest.mark.parametrize(
    ("paragraph", "wrong"),
    [
        ("3 seeds: 99.37 ± 0.06 %; 98.5 ± 0.5 %\nwith mnist_5k.", []),
        ("99.37 ± 0.06 %; 98.6 ± 0.5 % with mnist_5k.", ["98.6 ± 0.5 %: the mean"]),
        ("99.37 ± 0.05 %; 98.5 ± 0.5 % with mnist_5k.", ["99.37 ± 0.05 %: ± is"]),
        ("99.37 % and 98.5 ± 0.5 % with mnist_5k.", ["99.37 %: there are 3"]),
        ("99.37 ± 0.06 % in 4 seconds.", ["nothing is said of mnist_5k"]),
        ("99.37 ± 0.06 % with mnist_5k.", ["99.37", "99.37", "nothing is said of"]),
    ],
)
def test_a_wrong_number_is_found(paragraph, wrong):
    docstring = f"LeNet-5.\n\nMeasured, {paragraph}\n\nThe end, 12 %."
    found = mistakes(docstring, RIGHT, "mnist")
    assert len(found) == len(wrong)
    assert all(a.startswith(b) for a, b in zip(found, wrong, strict=True)), found


def test_a_wrong_number_of_seeds_is_found():
    docstring = "Measured, one seed: 99.37 ± 0.06 %."
    assert mistakes(docstring, {"mnist": RIGHT["mnist"]}, "mnist") == [
        "seeds, one: 3 records of mnist"
    ]
