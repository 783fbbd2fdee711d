"""Pictures of an experiment: functions from plain data to a matplotlib `Figure`.

Nothing here needs a display or touches matplotlib's global state, and matplotlib is
only imported when the first picture is made.
"""

import contextlib
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from jaxvision.visualise.classification import classification
from jaxvision.visualise.detection import detection
from jaxvision.visualise.keypoints import keypoints
from jaxvision.visualise.multilabel import multilabel
from jaxvision.visualise.regression import regression
from jaxvision.visualise.segmentation import segmentation

if TYPE_CHECKING:
    from jaxvision.visualise.animation import gif
    from jaxvision.visualise.annotation_overlay import captioned, class_colour, overlay
    from jaxvision.visualise.augmentation import augmentations
    from jaxvision.visualise.batch_sheet import training_batch
    from jaxvision.visualise.class_table import class_scores
    from jaxvision.visualise.comparison_grid import comparison, shares_by_class
    from jaxvision.visualise.confusion_matrix import confusion
    from jaxvision.visualise.contact_sheet import card
    from jaxvision.visualise.error_curve import error_curve
    from jaxvision.visualise.heat_map import (
        enlarged,
        filter_sheet,
        heat_upon,
        map_sheet,
        sheet,
    )
    from jaxvision.visualise.learning_curves import compare, curves
    from jaxvision.visualise.learning_rates import learning_rates
    from jaxvision.visualise.network_diagram import svg, volumes
    from jaxvision.visualise.png import encoded
    from jaxvision.visualise.point_cloud import Cloud, clouds
    from jaxvision.visualise.precision_recall import precision_recall
    from jaxvision.visualise.predicted_sheet import predicted_sheet
    from jaxvision.visualise.prediction_grid import predictions
    from jaxvision.visualise.projection import projected
    from jaxvision.visualise.quality import Cell, findings
    from jaxvision.visualise.reliability_diagram import reliability
    from jaxvision.visualise.scatter import agreement
    from jaxvision.visualise.seen_pixels import Seen, receptive_field
    from jaxvision.visualise.style import save
    from jaxvision.visualise.trajectories import animated_trajectories, trajectories

__all__ = [
    "Cell",
    "Cloud",
    "Seen",
    "agreement",
    "animated_trajectories",
    "augmentations",
    "captioned",
    "card",
    "class_colour",
    "class_scores",
    "classification",
    "clouds",
    "compare",
    "comparison",
    "confusion",
    "curves",
    "detection",
    "encoded",
    "enlarged",
    "error_curve",
    "filter_sheet",
    "findings",
    "gif",
    "heat_upon",
    "keypoints",
    "learning_rates",
    "map_sheet",
    "multilabel",
    "overlay",
    "precision_recall",
    "predicted_sheet",
    "predictions",
    "projected",
    "receptive_field",
    "regression",
    "reliability",
    "save",
    "segmentation",
    "shares_by_class",
    "sheet",
    "svg",
    "training_batch",
    "trajectories",
    "volumes",
]

_MODULE_OF = {
    "Cell": "quality",
    "Cloud": "point_cloud",
    "Seen": "seen_pixels",
    "agreement": "scatter",
    "animated_trajectories": "trajectories",
    "augmentations": "augmentation",
    "captioned": "annotation_overlay",
    "card": "contact_sheet",
    "class_colour": "annotation_overlay",
    "class_scores": "class_table",
    "clouds": "point_cloud",
    "compare": "learning_curves",
    "comparison": "comparison_grid",
    "confusion": "confusion_matrix",
    "curves": "learning_curves",
    "encoded": "png",
    "enlarged": "heat_map",
    "error_curve": "error_curve",
    "filter_sheet": "heat_map",
    "findings": "quality",
    "gif": "animation",
    "heat_upon": "heat_map",
    "learning_rates": "learning_rates",
    "map_sheet": "heat_map",
    "overlay": "annotation_overlay",
    "precision_recall": "precision_recall",
    "predicted_sheet": "predicted_sheet",
    "predictions": "prediction_grid",
    "projected": "projection",
    "receptive_field": "seen_pixels",
    "reliability": "reliability_diagram",
    "save": "style",
    "shares_by_class": "comparison_grid",
    "sheet": "heat_map",
    "svg": "network_diagram",
    "training_batch": "batch_sheet",
    "trajectories": "trajectories",
    "volumes": "network_diagram",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _import_matplotlib()
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    found = getattr(module, name)
    globals()[name] = found  # where the module is called so, it would take the name
    return found


def _import_matplotlib() -> None:
    """Whatever MPLBACKEND says: a notebook hands it down to programs in environments
    that lack its backend, where importing matplotlib would fail."""
    if "matplotlib" in sys.modules:
        return
    backend = os.environ.pop("MPLBACKEND", None)
    import matplotlib

    if backend is not None:
        os.environ["MPLBACKEND"] = backend
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
