"""Features of many examples as points in a plane."""

from typing import Literal

import numpy as np

from jaxvision.errors import check


def projection(
    features: np.ndarray, method: Literal["pca", "tsne"] = "pca", *, seed: int = 0
) -> np.ndarray:
    """A point for each example, float32 [N,2].

    Args:
      features: [N,…], of three examples or more.
      method: `"pca"`: along the two directions in which they vary most, whose distances
        mean something; `"tsne"`: neighbours stay neighbours, and nothing else does
        (van der Maaten and Hinton 2008), after PCA to 50 numbers.
      seed: of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = np.asarray(features, np.float32).reshape(len(features), -1)
    count, width = features.shape
    check(
        (
            count >= 3 and width >= 2,
            f"a projection is of three examples and two features or more, got {count} "
            f"and {width}",
        ),
        (
            bool(np.isfinite(features).all()),
            "some of the features are not finite: the network has diverged, or an "
            "image holds what it cannot be given",
        ),
    )
    if method == "pca":
        return PCA(2, svd_solver="full").fit_transform(features).astype(np.float32)
    if min(count, width) > 50:
        features = PCA(50, svd_solver="full").fit_transform(features)
    perplexity = min(30.0, (count - 1) / 3)
    placed = TSNE(2, perplexity=perplexity, random_state=seed, init="pca")
    return placed.fit_transform(features).astype(np.float32)
