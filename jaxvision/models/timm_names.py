"""Rules that turn torchvision's names of inverted residual blocks into timm's.

They start from names like `features.3.1.block.0.0`: stage 3, block 1, and within it the
layers of `layers.inverted_residual`.
"""

from collections.abc import Sequence

from jaxvision.models.variant import Rules

STEM: Rules = ((r"^features\.0\.0", "conv_stem"), (r"^features\.0\.1", "bn1"))

LAYERS: Rules = (
    (r"^features\.(\d+)\.", lambda match: f"blocks.{int(match[1]) - 1}."),
    (r"\.block\.\d\.fc1", ".se.conv_reduce"),
    (r"\.block\.\d\.fc2", ".se.conv_expand"),
    # Blocks of the first stage have no expansion.
    (r"^(blocks\.0\.\d+)\.block\.0\.0", r"\1.conv_dw"),
    (r"^(blocks\.0\.\d+)\.block\.0\.1", r"\1.bn1"),
    (r"^(blocks\.0\.\d+)\.block\.[12]\.0", r"\1.conv_pw"),
    (r"^(blocks\.0\.\d+)\.block\.[12]\.1", r"\1.bn2"),
    (r"\.block\.0\.0", ".conv_pw"),
    (r"\.block\.0\.1", ".bn1"),
    (r"\.block\.1\.0", ".conv_dw"),
    (r"\.block\.1\.1", ".bn2"),
    (r"\.block\.[23]\.0", ".conv_pwl"),
    (r"\.block\.[23]\.1", ".bn3"),
)


def in_stages(depths: Sequence[int]) -> Rules:
    """For blocks with consecutive numbers: `features.5.` becomes `features.3.1.`.

    `depths` are the numbers of blocks in each stage.
    """
    places = [
        f"features.{stage}.{block}."
        for stage, depth in enumerate(depths, 1)
        for block in range(depth)
    ]
    return (
        (r"^features\.(\d+)\.(?=block|conv)", lambda match: places[int(match[1]) - 1]),
    )
