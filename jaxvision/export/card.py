"""A model card: what a network is, what it reaches, and where it comes from.

Markdown with the header that the Hugging Face hub reads.  Everything in it is from the
record of the run; what is not recorded is not said.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from jaxvision.runs import record, tables

_ORIGIN = {
    "command": "command",
    "git_commit": "commit",
    "hardware": "hardware",
    "finished_at": "finished",
    "seed": "seed",
    "parameters": "parameters",
    "best_params_digest": "SHA-256 of the parameters",
    "version_jaxvision": "jaxvision",
    "version_jax": "JAX",
}
"""Keys of a record, and what they are called."""


def text(
    result: Mapping[str, Any],
    classes: Sequence[str],
    use: str,
    architecture: str | None = None,
) -> str:
    """The content of README.md.

    Args:
      result: the record of a run; of a published network, or an unfinished run, it may
        hold no more than `experiment`.
      use: Python that loads and uses what the card lies beside.
      architecture: the name of the network in `models.create`, if it has one.
    """
    dataset = result.get("dataset")
    header = {
        "library_name": "jaxvision",
        "tags": ["jax", "jaxvision", *([architecture] if architecture else [])],
        **({"datasets": [dataset]} if dataset else {}),
    }
    title = architecture or result["experiment"]
    trained = f" trained on {dataset} by `{result['experiment']}`" if dataset else ""
    network = f"the network `{architecture}`" if architecture else "a network"
    lines = [
        "---",
        yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
        "---",
        f"# {title}{f' on {dataset}' if dataset else ''}",
        "",
        f"This is {network}{trained}, written by jaxvision.",
        *_metrics(result),
        "",
        "## Use",
        "",
        "```python",
        use,
        "```",
        *_classes(classes),
        *_origin(result),
    ]
    return "\n".join(lines) + "\n"


def _metrics(result: Mapping[str, Any]) -> list[str]:
    rows = [
        (key.replace("_", " "), measure.words(record.number(result, key)))
        for key, measure in record.measured(result).items()
    ]
    if not rows:
        return []
    chosen, tested = (
        f" ({result[key]})" if result.get(key) else ""
        for key in ("validated_on", "tested_on")
    )
    return [
        "",
        "## Results",
        "",
        *_table(("metric", "value"), rows),
        "",
        f"Of the checkpoint that is best on validation{chosen}, tested once{tested}.",
    ]


def _classes(classes: Sequence[str]) -> list[str]:
    listed = [f"{number}: {name}" for number, name in enumerate(classes[:100])]
    more = f", … ({len(classes)} in all)" if len(classes) > len(listed) else ""
    return ["", "## Classes", "", ", ".join(listed) + more] if listed else []


def _origin(result: Mapping[str, Any]) -> list[str]:
    rows = [
        (name, f"`{_shown(key, result[key])}`")
        for key, name in _ORIGIN.items()
        if result.get(key) is not None
    ]
    return ["", "## Origin", "", *_table(("what", "value"), rows)] if rows else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(cells).replace(chr(10), ' ')} |"
        for cells in (head, ("---",) * len(head), *rows)
    ]


def _shown(key: str, value: Any) -> Any:
    """Without the paths of the machine where the run was made."""
    return tables.portable_command(value) if key == "command" else value
