"""Load published weights into a model, and save a model's weights like them."""

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import models
from jaxvision.errors import UsageError
from jaxvision.models import measures, shapes
from jaxvision.pretrained import keys, published, torch_pickle
from jaxvision.pretrained.reading import read
from jaxvision.types import Variables

Shapes = dict[keys.Path, tuple[int, ...]]


def load(
    name: str,
    source: str | Path | Mapping[str, Any],
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, int, int] | None = None,
    key: jax.Array | None = None,
    **options,
) -> Variables:
    """The variables of model `name` with the weights of `source`.

    `source` is a file, a Hugging Face hub id or a state dict, as in
    `reading.read`, or `"default"`: the weights of the model's reference
    implementation, downloaded.  They expect images that are normalised by
    `models.normalisation(name)`, which are not always ImageNet's statistics.

    The model may differ from the file on purpose.  With another `num_classes`, the
    layers of class scores are initialised with `key` instead (0: there are none).
    With another `input_shape` (H, W, C), position embeddings are resampled, and the
    kernels of the first layer are summed over the channels if C is 1, or repeated.
    `options` are those of `models.create`.

    Raises a `UsageError` that lists all keys that are missing, unexpected or have
    another shape, or one for weights of a network that computes something else.
    """
    _check_network(name, source)
    state = keys.joined(read(published.fetch(name) if source == "default" else source))
    if num_classes is not None:
        options["num_classes"] = num_classes
    wanted_input = input_shape or models.default_input(name)
    wanted = _shapes(name, wanted_input, **options)
    publisher = _publisher(name, wanted, state, options)
    rules = models.sources(name, **options)[publisher]

    looks = measures.fingerprint(
        array.shape for key, array in state.items() if not keys.IGNORED.search(key)
    )
    variables: dict[keys.Path, Any] = {}
    new: list[keys.Path] = []
    missing, wrong = [], []
    changes = _Changes(name, num_classes is not None, input_shape is not None, options)
    for path, shape in wanted.items():
        published_key = keys.published_key(path, rules)
        expected = keys.published_shape(path, shape)
        array = state.pop(published_key, None)
        if array is None and path in changes.head:
            new.append(path)
        elif array is None:
            missing.append(published_key)
        elif array.shape == expected or _same_but_for_rank(array.shape, expected):
            array = array.reshape(expected)
            variables[path] = keys.from_published(path, array)
        elif path in changes.head:
            new.append(path)
        elif path in changes.stem:
            variables[path] = keys.from_published(
                path, _with_channels(array, expected[1])
            )
        elif path in changes.positions:
            variables[path] = _resampled(array, shape, wanted_input)
        else:
            wrong.append(f"{published_key} is {array.shape}, expected {expected}")
    unexpected = [key for key in state if not keys.IGNORED.search(key)]
    if unexpected and not missing:
        # Arrays of layers that the options removed from the model are ignored.
        known = {keys.published_key(path, rules) for path in _whole(name, options)}
        unexpected = [key for key in unexpected if key not in known]
    if missing or unexpected or wrong:
        raise _mismatch(name, missing, unexpected, wrong, looks)
    if publisher == "timm":
        _check_options(name, options)
    if new:
        variables |= _initialised(name, wanted_input, options, key, new)
    return keys.unflatten(
        {path: jnp.asarray(variables[path], jnp.float32) for path in wanted}
    )


def save(path: str | Path, name: str, variables: Variables, **options) -> None:
    """Write the variables of model `name` as a file of safetensors or, `.pth`, PyTorch.

    Keys, shapes and the order of axes are those of the reference implementation, which
    loads the file with `strict=True`.  Only MNASNet of torchvision wants a `.pth`: it
    asks for the version of its module, which safetensors do not hold.  `options` are
    those of `models.create`: keys may depend on the encoder.
    """
    from safetensors.numpy import save_file

    path = Path(path)
    writers = {
        ".safetensors": lambda state: save_file(state, path),
        ".pth": lambda state: torch_pickle.write(path, state),
    }
    if path.suffix not in writers:
        raise UsageError(f"weights are saved as .safetensors or .pth, got {path}")
    rules = next(iter(models.sources(name, **options).values()))
    flat = {place: np.asarray(leaf) for place, leaf in keys.flatten(variables).items()}
    state = {
        keys.published_key(place, rules): keys.to_published(place, leaf)
        for place, leaf in flat.items()
    }
    if len(state) != len(flat):
        raise ValueError(f"two arrays of {name} would get the same published name")
    try:
        writers[path.suffix](state | models.constants(name, state))
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error}") from error


class _Changes:
    """The arrays that depend on what the caller asked to be different.

    They are found by comparing the model's shapes before and after such a change, so
    that no model has to declare its head, its stem and its position embeddings.
    """

    def __init__(self, name: str, classes: bool, size: bool, options):
        self._name, self._options = name, options
        self._classes, self._size = classes, size

    @cached_property
    def head(self) -> set[keys.Path]:
        if not self._classes:
            return set()
        paths = models.head(self._name, **self._options)
        return {("params", *path.split("/")) for path in paths}

    @cached_property
    def stem(self) -> set[keys.Path]:
        height, width, channels = models.default_input(self._name)
        return self._depending_on(height, width, channels + 1)

    @cached_property
    def positions(self) -> set[keys.Path]:
        height, width, channels = models.default_input(self._name)
        return self._depending_on(2 * height, 2 * width, channels)

    def _depending_on(self, *size: int) -> set[keys.Path]:
        if not self._size:
            return set()
        default = models.default_input(self._name)
        return _differing(
            _shapes(self._name, default, **self._options),
            _shapes(self._name, size, **self._options),
        )


def _differing(one: Shapes, two: Shapes) -> set[keys.Path]:
    return {path for path in one if one[path] != two.get(path)}


def _shapes(name: str, input_shape: tuple[int, ...], **options) -> Shapes:
    variables = shapes.variables(name, input_shape, **options)
    return {path: leaf.shape for path, leaf in keys.flatten(variables).items()}


def _whole(name: str, options: Mapping[str, Any]) -> set[keys.Path]:
    """The arrays of the model with no options but those of its encoder, and all that
    its encoder has as a classifier."""
    found = models.encoder_of(name, **options)
    if found is None:
        return set(_shapes(name, models.default_input(name)))
    encoder, fields = found
    whole = _shapes(
        name, models.default_input(name), encoder=encoder, encoder_options=fields
    )
    inner = _shapes(encoder, models.default_input(encoder), **fields)
    return {*whole, *((kind, models.BACKBONE, *path) for kind, *path in inner)}


def _initialised(name, input_shape, options, key, new) -> dict[keys.Path, jax.Array]:
    """Fresh values for the arrays at the paths of `new`."""
    key = jax.random.key(0) if key is None else key
    model = models.create(name, **options)

    def only_new(key):
        variables = model.init(key, jnp.zeros((1, *input_shape)))
        flat = keys.flatten(variables)
        return [flat[path] for path in new]

    # Under jit nothing is computed but what is asked for.
    return dict(zip(new, jax.jit(only_new)(key), strict=True))


def _check_network(name: str, source: str | Path | Mapping[str, Any]) -> None:
    """Raise for weights of a network of timm that has the same arrays as another.

    Such networks differ in padding, windows or epsilons.
    """
    known, _ = models.timm(name)
    if known is None or isinstance(source, Mapping):
        return
    network = Path(source).name.partition(".")[0]
    on_hub = str(source).startswith("timm/") and not Path(source).exists()
    if (on_hub and network != known) or network.startswith("tf_"):
        raise UsageError(
            f"{source} looks like weights of timm's {network}, and {name} computes "
            f"what timm calls {known}: another network may have the same arrays, but "
            "other padding, windows or epsilons"
        )


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise for weights of timm, unless the options are those of timm's network."""
    _, wanted = models.timm(name)
    lacking = [f"{k}={v}" for k, v in wanted.items() if options.get(k) != v]
    if lacking:
        given = " and ".join(lacking)
        raise UsageError(
            f"these look like timm's weights, whose network has {given}, unlike our "
            f"{name}: give {given} here and to models.create"
        )


def _publisher(
    name: str, wanted: Shapes, state: Mapping, options: Mapping[str, Any]
) -> str:
    """The source that shares the most names with the state dict."""
    sources = models.sources(name, **options)

    def shared(source: str) -> int:
        rules = sources[source]
        return sum(keys.published_key(path, rules) in state for path in wanted)

    return max(sources, key=shared)


def _same_but_for_rank(got: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether one is the other flattened: a dense layer may be a convolution."""
    return (
        len(got) != len(expected)
        and math.prod(got) == math.prod(expected)
        and got[:1] == expected[:1]
    )


def _with_channels(kernel_OxCxKxK: np.ndarray, channels: int) -> np.ndarray:
    """The kernel for other input channels, whose outputs have about the same scale."""
    have = kernel_OxCxKxK.shape[1]
    if channels == 1:
        return kernel_OxCxKxK.sum(1, keepdims=True)
    repeats = -(-channels // have)
    tiled = np.tile(kernel_OxCxKxK, (1, repeats, 1, 1))[:, :channels]
    return tiled * (have / channels)


def _resampled(embedding_1xNxD, shape, input_shape) -> np.ndarray:
    """Position embeddings for another grid; those of extra tokens stay the same."""
    old_grid = math.isqrt(embedding_1xNxD.shape[1])
    extra = embedding_1xNxD.shape[1] - old_grid**2
    height, width, _ = input_shape
    columns = round(math.sqrt((shape[1] - extra) * width / height))
    rows = (shape[1] - extra) // columns
    grid = embedding_1xNxD[:, extra:].reshape(1, old_grid, old_grid, -1)
    resized = jax.image.resize(grid, (1, rows, columns, shape[2]), "bicubic")
    return np.concatenate(
        [embedding_1xNxD[:, :extra], np.asarray(resized).reshape(1, -1, shape[2])], 1
    )


def _mismatch(name, missing, unexpected, wrong, looks: int) -> UsageError:
    lines = [f"these are not the weights of {name}:"]
    same = [n for n, m in measures.recorded().items() if m.fingerprint == looks]
    if same and name not in same:
        lines = [f"{lines[0]} they look like those of {' or '.join(same)}"]
    elif name in same and wrong and not missing and not unexpected:
        lines = [f"{lines[0]} for another number of classes, give num_classes="]
    for what, entries in (
        ("missing", missing),
        ("unexpected", unexpected),
        ("wrong shape", wrong),
    ):
        lines += [f"  {what}: {entry}" for entry in entries[:20]]
        if len(entries) > 20:
            lines.append(f"  {what}: … and {len(entries) - 20} more")
    return UsageError("\n".join(lines))
