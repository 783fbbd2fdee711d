"""What an accelerator is worth to us, in the minutes that it is lent for.

    python -m benchmarks.gpu --budget 540 --output FOLDER
    python -m benchmarks.gpu --rehearse --output FOLDER     (tiny, on CPU: numbers mean
                                                             nothing)
    python -m benchmarks.gpu --publish FOLDER               (what it wrote, as records)

The parts run one after the other, each in a process of its own and within what is left
of the budget; `PARTS` has them in the order of their value.  Each writes its numbers as
soon as it has them, so that one that fails, or whose time is up, costs no other.
`FOLDER/summary.json` says how each part ended.

PyTorch is the other side of the first two where this interpreter, or `--torch-python`,
has it.  It takes nothing but this repository, JAX and its packages, and the data set,
which is prepared (`TFDS_DATA_DIR`) or given as `--dataset npz:PATH`; without one, parts
that need it train on synthetic images and say so.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import cli, records
from jaxvision.errors import UsageError, check
from jaxvision.files import replace_text
from jaxvision.runs import tables

SUMMARY = "summary.json"
RECIPE = "cifar10_resnet18"
"""The experiment that runs as a whole."""
GRACE = 15.0
"""Seconds that a part has to end by itself when its time is up."""
LEAST = 20.0
"""Seconds without which no part is begun."""


@dataclasses.dataclass(frozen=True)
class Config:
    output: Path = Path("runs/gpu")
    """Folder of what the parts write."""
    budget: float = 540.0
    """Seconds for all parts together."""
    parts: tuple[str, ...] = ()
    """Only these; none: all."""
    dataset: str = "cifar10"
    """Data set of 32×32 colour images, as in `--dataset` of the experiments."""
    torch_python: Path | None = None
    """Interpreter in which `import torch` works.  Default: this one, if it does."""
    rehearse: bool = False
    """Everything tiny, to see on a CPU that all parts run."""
    publish: Path | None = None
    """Run nothing; make records of what is in this folder."""


class Part(NamedTuple):
    """A measurement."""

    run: Callable[["Session"], None]
    """Raises `subprocess.SubprocessError` where it fails."""
    seconds: float
    """Of the budget, at most."""


@dataclasses.dataclass
class Session:
    """What the parts share."""

    config: Config
    dataset: str
    deadline: float = 0.0
    """Of the part that runs, in seconds of `time.monotonic`."""

    def __call__(self, *words: str) -> None:
        """Run a module of this repository, in the time that its part has.

        Raises `CalledProcessError`, also where the time is up.
        """
        command = [sys.executable, "-m", *words]
        print("$", *command[1:], flush=True)
        with subprocess.Popen(command, start_new_session=True) as process:
            try:
                process.wait(max(self.deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                _end(process)
        if process.returncode != 0:
            raise subprocess.CalledProcessError(process.returncode, command)

    def file(self, name: str) -> str:
        return str(self.config.output / name)

    def minutes(self) -> str:
        """What the part has left, less a moment to write its numbers."""
        return str(max((self.deadline - time.monotonic() - 5) / 60, 0.1))

    def torch(self) -> tuple[str, ...]:
        python = self.config.torch_python
        if python is None and importlib.util.find_spec("torch") is not None:
            python = Path(sys.executable)
        return () if python is None else ("--torch-python", str(python))


def speedrun(session: Session) -> None:
    """airbench's 94 % on CIFAR-10, in turns with PyTorch."""
    size = ["--runs", "10", "--vmap", "8", "--dataset", session.dataset]
    if session.config.rehearse:
        size = ["--smoke"]
    session(
        "benchmarks.cifar10_speedrun",
        *size,
        *session.torch(),
        *("--minutes", session.minutes()),
        *("--output", session.file("cifar10_speedrun.json")),
    )


def throughput(session: Session) -> None:
    """Training steps of two networks of ImageNet, against torch.compile."""
    names = ["resnet50", "vit_small_patch16_224"]
    size = ["--torch-modes", "default"]
    if session.config.rehearse:
        names, size = ["resnet18"], ["--steps", "1"]
    session(
        "benchmarks.imagenet_throughput",
        *("--models", *names),
        *size,
        *session.torch(),
        *("--minutes", session.minutes()),
        *("--output", session.file("imagenet_throughput.json")),
    )


def recipe(session: Session) -> None:
    """ResNet-18 on CIFAR-10 by a short one of its recipes, as an ordinary run."""
    size = ["--dataset", session.dataset, "--epochs", "30", "--precision", "bf16"]
    if session.config.rehearse:
        size = ["--smoke"]
    workdir = session.file(RECIPE)
    session(f"experiments.{RECIPE}", *size, "--workdir", workdir)


def parity(session: Session) -> None:
    """Ten networks on this device against their references."""
    few = ("--models", "resnet20") if session.config.rehearse else ()
    session(
        "benchmarks.device_parity", *few, "--output", session.file("device_parity.json")
    )


def resumption(session: Session) -> None:
    """A run that is killed and continued ends with the bits of one that is not."""
    options = ("experiments.cifar10_resnet20", "--smoke", "--save-every-steps", "4")
    whole, killed = (Path(session.file(f"{name}_run")) for name in ("whole", "killed"))
    session(*options, "--workdir", str(whole))
    command = [sys.executable, "-m", *options, "--workdir", str(killed)]
    with subprocess.Popen(command, start_new_session=True) as process:
        while process.poll() is None and time.monotonic() < session.deadline:
            if any((killed / "checkpoints").glob("[0-9]*")):
                break
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    interrupted = not (killed / "result.json").exists()
    session(*options, "--workdir", str(killed))
    digests = [
        json.loads((run / "result.json").read_text("utf-8"))["params_digest"]
        for run in (whole, killed)
    ]
    numbers = records.begin("gpu") | {
        "interrupted": interrupted,
        "same_bits": digests[0] == digests[1],
    }
    records.write(numbers, Path(session.file("resumption.json")))


PARTS: dict[str, Part] = {
    "speedrun": Part(speedrun, 150),
    "throughput": Part(throughput, 170),
    "recipe": Part(recipe, 240),
    "parity": Part(parity, 100),
    "resumption": Part(resumption, 60),
}
"""In the order of their value."""


def main(config: Config) -> int:
    if config.publish is not None:
        return publish(config.publish)
    check(
        *(
            (
                name in PARTS,
                f"there is no part {name!r}: choose from {', '.join(PARTS)}",
            )
            for name in config.parts
        ),
        (config.budget > 0, f"the budget must be positive, got {config.budget} s"),
    )
    config.output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + config.budget
    session = Session(config, dataset=_dataset(config))
    summary: dict[str, Any] = {
        "budget_seconds": config.budget,
        "dataset": session.dataset,
        "rehearsal": config.rehearse,
    }
    for name in config.parts or PARTS:
        part, started = PARTS[name], time.monotonic()
        seconds = config.budget if config.rehearse else part.seconds
        session.deadline = min(started + seconds, end)
        if session.deadline - started < LEAST:
            outcome = "left out: no time was left"
        else:
            outcome = _outcome(part, session)
        print(f"{name}: {outcome}", flush=True)
        summary[name] = {
            "outcome": outcome,
            "seconds": round(time.monotonic() - started, 1),
        }
        replace_text(config.output / SUMMARY, json.dumps(summary, indent=2) + "\n")
    done = [summary[name]["outcome"] == "done" for name in config.parts or PARTS]
    return 0 if all(done) else 1


def _outcome(part: Part, session: Session) -> str:
    try:
        part.run(session)
    except Exception as error:  # another part must not lose its time by it
        late = time.monotonic() >= session.deadline
        return f"{'its time was up' if late else 'failed'}: {error}"
    return "done"


def _dataset(config: Config) -> str:
    """The data set, or synthetic images where it is neither prepared nor a file."""
    from jaxvision.data.tfds.source import data_folder

    given = ":" in config.dataset or (data_folder() / config.dataset).is_dir()
    if given:
        return config.dataset
    print(f"{config.dataset} is not prepared: synthetic images instead", flush=True)
    return "synthetic:32x32x3:10"


def _end(process: subprocess.Popen) -> None:
    """Ask a process and its children to stop, and end them if they do not."""
    for number, patience in ((signal.SIGINT, GRACE), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def publish(folder: Path) -> int:
    """Copy the numbers to the committed records, and the run to those of the tables."""
    try:
        summary = json.loads((folder / SUMMARY).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} holds no finished session: {error}") from None
    if summary["rehearsal"]:
        raise UsageError(f"{folder} is of a rehearsal, whose numbers mean nothing")
    for file in sorted(folder.glob("*.json")):
        if file.name != SUMMARY:
            target = records.COMMITTED / f"gpu_{file.name}"
            shutil.copyfile(file, target)
            print(f"{target}: written")
    run = folder / RECIPE
    if (run / "result.json").exists() and not _synthetic(summary):
        print(f"{tables.publish(run)}: published")
    return 0


def _synthetic(summary: Mapping[str, Any]) -> bool:
    return str(summary["dataset"]).startswith("synthetic")


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
