"""Pictures of an experiment: functions from plain data to a matplotlib `Figure`.

Nothing here needs a display or touches matplotlib's global state, and matplotlib is
only imported when the first picture is made.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxvision.visualise.classification import classification
from jaxvision.visualise.multilabel import multilabel
from jaxvision.visualise.regression import regression
from jaxvision.visualise.segmentation import segmentation

if TYPE_CHECKING:
    from jaxvision.visualise.annotation_overlay import captioned, class_colour, overlay
    from jaxvision.visualise.augmentation import augmentations
    from jaxvision.visualise.comparison_grid import comparison, shares_by_class
    from jaxvision.visualise.confusion_matrix import confusion
    from jaxvision.visualise.contact_sheet import card
    from jaxvision.visualise.learning_curves import compare, curves
    from jaxvision.visualise.learning_rates import learning_rates
    from jaxvision.visualise.prediction_grid import predictions
    from jaxvision.visualise.scatter import agreement
    from jaxvision.visualise.style import save

__all__ = [
    "agreement",
    "augmentations",
    "captioned",
    "card",
    "class_colour",
    "classification",
    "compare",
    "comparison",
    "confusion",
    "curves",
    "learning_rates",
    "multilabel",
    "overlay",
    "predictions",
    "regression",
    "save",
    "segmentation",
    "shares_by_class",
]

_MODULE_OF = {
    "agreement": "scatter",
    "augmentations": "augmentation",
    "captioned": "annotation_overlay",
    "card": "contact_sheet",
    "class_colour": "annotation_overlay",
    "compare": "learning_curves",
    "comparison": "comparison_grid",
    "confusion": "confusion_matrix",
    "curves": "learning_curves",
    "learning_rates": "learning_rates",
    "overlay": "annotation_overlay",
    "predictions": "prediction_grid",
    "save": "style",
    "shares_by_class": "comparison_grid",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
    return getattr(module, name)
