"""`ImageFeatures`: what a trained network makes of images, as a transformer."""

from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from jaxvision import pretrained
from jaxvision.data.feed.preparation import Picture
from jaxvision.errors import check
from jaxvision.estimators import images
from jaxvision.runs.finished import Which, load
from jaxvision.runs.predictor import Prediction


class ImageFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Images to features float32 [N,D], by a network that stays as it is.

    X is an array [N,H,W] or [N,H,W,C] of bytes (uint8) or of numbers from 0 to 1, a
    list of images that differ in size, or a list of the paths of image files.  They are
    prepared as the network expects it: resized, cropped and normalised.

    Args:
      source: the name of a model with published weights, or the run directory of an
        experiment.
      weights: of the model, as in `pretrained.load`: a file, a hub id, `"default"`,
        which are downloaded.  None: `source` is a run directory.
      layer: the activation that is taken, such as `"stage3"`.  Maps are averaged over
        the image.
      which: of a run: the parameters of the best checkpoint, of the last one, or the
        averaged ones.
      options: of `models.create`, for a published network.
      preparing: of `pretrained.prepared`, such as `{"size": 224, "resize": 256}`, for
        weights of which it is not known how their images are prepared.
      batch_size: images that go through the network at once.

    Nothing is learned from X.  Pickled, it holds its arguments and not the network, and
    loads it anew.  What cannot be meant raises `UsageError`, a `ValueError`.
    """

    def __init__(
        self,
        source: str = "resnet18",
        *,
        weights: Any = "default",
        layer: str = "pre_logits",
        which: Which = "best",
        options: dict[str, Any] | None = None,
        preparing: dict[str, Any] | None = None,
        batch_size: int = 64,
    ):
        self.source = source
        self.weights = weights
        self.layer = layer
        self.which = which
        self.options = options
        self.preparing = preparing
        self.batch_size = batch_size

    def fit(self, X, y=None) -> "ImageFeatures":
        """Load the network, and see that it takes the images."""
        check(
            (
                self.batch_size >= 1,
                f"batch_size must be at least 1, got {self.batch_size}",
            )
        )
        self._network = self._load()
        self._n_features_out = self._features(images.pictures(self, X)[:1]).shape[1]
        return self

    def transform(self, X) -> np.ndarray:
        """The features float32 [N,D] of the images X."""
        check_is_fitted(self, "_n_features_out")
        return self._features(images.pictures(self, X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in super().__getstate__().items() if k != "_network"}

    def _features(self, pictures: list[Picture]) -> np.ndarray:
        if not hasattr(self, "_network"):  # it was pickled
            self._network = self._load()
        parts = []
        for batch in self._network.batches(pictures, self.batch_size):
            found = batch[self.layer].astype(np.float32)
            parts.append(found.mean(axis=tuple(range(1, found.ndim - 1))))
        return np.concatenate(parts)

    def _load(self) -> Prediction:
        """The network, as what computes the layer."""
        options = self.options or {}
        preparation = None
        if self.preparing is not None:
            preparation = pretrained.prepared(self.source, **self.preparing, **options)
        predictor = load(
            self.source,
            weights=self.weights,
            which=self.which,
            preparation=preparation,
            **options,
        )
        return predictor.prediction([self.layer], predicts=False)
