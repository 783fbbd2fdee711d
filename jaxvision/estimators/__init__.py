"""Image classifiers and image features as estimators of scikit-learn.

    ImageClassifier("resnet20", epochs=20).fit(images, labels).predict(others)
    make_pipeline(ImageFeatures("resnet50"), LogisticRegression())

They train by the one loop of the engine, and leave no files behind.
"""

from jaxvision.estimators.classifier import ImageClassifier
from jaxvision.estimators.features import ImageFeatures

__all__ = ["ImageClassifier", "ImageFeatures"]
