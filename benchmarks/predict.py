"""Prediction of a folder of photographs, against timm and PyTorch's DataLoader.

    python -m benchmarks.predict --photos FOLDER --torch-python PATH

Both read, prepare and classify the same files with the same network and transforms, in
turns, in batches of 32: as a program from its start to its end, and within a process
whose program is compiled.  PyTorch runs eagerly, in the fastest of two memory layouts
with and without worker processes.  How long one picture takes from a cold start, and
how much of that is the import of JAX, is measured as well.

The weights are drawn, since speed does not depend on them.
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks import cli, records
from benchmarks.peers import FOLDER, peer
from benchmarks.photographs import find
from benchmarks.timing import ratios, spread
from jaxvision import models, pretrained
from jaxvision.runs import load

NETWORKS = {
    "tf_efficientnet_lite0": dict(size=224, resize=256, method="bicubic"),
    "resnet50": dict(size=224, resize=256, method="bilinear"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    photos: Path
    """A folder of JPEG files."""
    torch_python: Path
    """Interpreter in which `import torch, timm` works."""
    batch_size: int = 32
    """Photographs that are computed together."""
    rounds: int = 3
    """Turns of each side; the median of their ratios counts."""
    output: Path | None = None
    """Write the numbers to this JSON file as well."""


def main(config: Config) -> None:
    numbers = records.begin("predict") | {"photographs": len(find(config.photos))}
    with (
        tempfile.TemporaryDirectory() as folder,
        peer(config.torch_python, "predict_torch.py") as torch,
    ):
        for name, how in NETWORKS.items():
            weights = Path(folder) / f"{name}.safetensors"
            images = jnp.zeros((1, 64, 64, 3))
            variables = jax.jit(models.create(name).init)(jax.random.key(0), images)
            pretrained.save(weights, name, variables)
            found = _compare(name, weights, how, config, torch)
            print(name, *(f"{key} {value:.3g}" for key, value in found.items()))
            numbers |= {f"{name}_{key}": value for key, value in found.items()}
        numbers |= _cold(weights, config)
    records.write(numbers, config.output)


def _compare(name, weights, how, config, torch) -> dict[str, float]:
    mean, std = models.normalisation(name)
    there = {k: v for k, v in how.items() if k != "method"}
    there |= {"interpolation": how["method"], "mean": mean, "std": std}
    predictor = load(
        name, weights=weights, preparation=pretrained.prepared(name, **how)
    )
    files = find(config.photos)
    predictor.predict(files[:1], batch_size=config.batch_size)
    ours, others, whole, whole_others = [], [], [], []
    for _ in range(config.rounds):
        started = time.perf_counter()
        predictor.predict(files, batch_size=config.batch_size)
        ours.append(len(files) / (time.perf_counter() - started))
        asked = (name, None, str(config.photos), config.batch_size, there)
        others.append(torch("rate", *asked))
        whole.append(len(files) / _seconds(_command(name, weights, how, config)))
        script = [str(config.torch_python), str(FOLDER / "predict_torch.py"), name]
        script += [str(config.photos), *map(str, (config.batch_size, *how.values()))]
        whole_others.append(len(files) / _seconds(script))
    return {
        **spread("images_per_second", ours),
        **spread("images_per_second_pytorch", others),
        **spread("ratio", ratios(ours, others)),
        **spread("images_per_second_from_start", whole),
        **spread("images_per_second_from_start_pytorch", whole_others),
        **spread("from_start_ratio", ratios(whole, whole_others)),
    }


def _cold(weights: Path, config: Config) -> dict[str, float]:
    """Seconds until one picture is answered, and of the imports alone."""
    name, how = next(iter(NETWORKS.items()))
    weights = weights.with_name(f"{name}.safetensors")
    one = dataclasses.replace(config, photos=find(config.photos)[0], batch_size=1)
    answer = [_seconds(_command(name, weights, how, one)) for _ in range(config.rounds)]
    imports = [
        _seconds([sys.executable, "-c", "import jax, flax.linen, optax"])
        for _ in range(config.rounds)
    ]
    return spread("one_picture_seconds", answer) | spread("import_seconds", imports)


def _command(name, weights, how, config) -> list[str]:
    return [
        *(sys.executable, "-m", "jaxvision", "predict", str(config.photos)),
        *("--model", name, "--weights", str(weights)),
        *(word for key, value in how.items() for word in (f"--{key}", str(value))),
        *("--json-lines", "--output", "None", "--batch-size", str(config.batch_size)),
    ]


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    cli.run(main, Config, __doc__)
