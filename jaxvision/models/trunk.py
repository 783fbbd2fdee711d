"""What networks for every pixel take from a VGG or an AlexNet that classifies images.

initial = models.dense_as_convolutions(runs.backbone("vgg16", "runs/…"))   for FCN
initial = models.trunk(runs.backbone("vgg16_bn", "runs/…"))                for SegNet
"""

import math

from jaxvision.types import PyTree, Variables


def trunk(variables: Variables) -> Variables:
    """The variables of the layers before the dense ones, `features.0` and so on."""
    return {
        collection: {name: layer for name, layer in layers.items() if _is_trunk(name)}
        for collection, layers in variables.items()
    }


def dense_as_convolutions(variables: Variables) -> Variables:
    """The same variables with dense layers as convolutions, as FCN has them.

    The first one sees the whole last map, so that its kernel [C·w·w,D], channels first,
    becomes [w,w,C,D]; the others become [1,1,C,D].  At the position that sees the same
    map the network then says what the classifier says of it (Long et al. 2015, section
    3.1).  For another number of classes take the head off first, as `runs.backbone`
    does.
    """
    params = variables["params"]
    layers = sorted(params, key=lambda name: int(name.rpartition(".")[2]))
    kernels = [params[name]["kernel"] for name in layers if "kernel" in params[name]]
    channels = next(k for k in reversed(kernels) if k.ndim == 4).shape[2:][-1]
    turned: dict[str, PyTree] = {}
    for name in layers:
        kernel = params[name].get("kernel")
        turned[name] = params[name]
        if kernel is not None and kernel.ndim == 2:
            side = math.isqrt(kernel.shape[0] // channels)
            kernel = kernel.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)
            turned[name] = {**params[name], "kernel": kernel}
            channels = kernel.shape[-1]
    return {**variables, "params": turned}


def _is_trunk(name: str) -> bool:
    return name.startswith("features.")
