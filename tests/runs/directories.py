"""Run directories as runs leave them, without the running."""

import json

from jaxvision.files import plain, replace_object
from jaxvision.runs import lock

MEASURES = {
    "accuracy": {"name": "accuracy", "unit": "%", "better": "higher", "decimals": 2},
    "loss": {"name": "loss", "unit": "", "better": "lower", "decimals": 4},
}
CONFIG = {
    "format": 2,
    "experiment": "mnist_lenet5",
    "program": "experiments.mnist_lenet5",
    "smoke": False,
    "config_epochs": 3,
    "config_peak_lr": 0.01,
    "config_seed": 0,
    "planned_steps": 24,
    "monitor": "accuracy",
    "measures": MEASURES,
}
RECORD = {
    **{key: value for key, value in CONFIG.items() if key != "planned_steps"},
    "test_accuracy": 0.9,
    "test_loss": 0.3,
    "validation_accuracy": 0.91,
    "validation_loss": 0.25,
    "evaluations": ["validation", "test"],
    "seed": 0,
    "steps": 20,
    "epochs": 2.5,
    "best_step": 16,
    "parameters": 61706,
    "wall_seconds": 75.0,
    "images_per_second": 1234.5,
    "hardware": "2 cores of a processor",
    "device": "cpu",
    "git_commit": "0123abc",
    "version_jax": "1.0",
    "finished_at": "2026-01-31T12:00:00+00:00",
}
ROWS = [
    {
        "step": 8 * (i + 1),
        "epoch": i + 1.0,
        "train/loss": 1.0 / (i + 1),
        "learning_rate": 0.01,
        "validation/accuracy": accuracy,
        "validation/loss": 0.5,
        "seconds": i + 1.0,
    }
    for i, accuracy in enumerate([0.5, 0.875, 0.75])
]


def finished(folder, **changes):
    """A finished run; `changes` are of its record."""
    folder.mkdir(parents=True)
    record = RECORD | changes
    replace_object(folder / "result.json", record)
    config = {key: value for key, value in record.items() if key in CONFIG}
    replace_object(folder / "config.json", config)
    return _log(folder)


def unfinished(folder, **changes):
    """One that was interrupted at step 16; `changes` are of its config."""
    folder.mkdir(parents=True)
    for step in (8, 16):
        (folder / "checkpoints" / str(step)).mkdir(parents=True)
    replace_object(folder / "config.json", CONFIG | changes)
    return _log(folder)


def _log(folder):
    (folder / lock.FILE).touch()
    lines = [json.dumps(plain(row)) for row in ROWS]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return folder
