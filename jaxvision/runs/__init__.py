"""Runs: from a command line to a record, and what is done with records and runs.

`run(build, Config)` is what an experiment's file calls to become a program, and
`study(examine, Config)` what one calls that looks at something, such as at what
`trained(experiment)` makes of several networks.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxvision.runs.execute import run, run_cases
    from jaxvision.runs.features import cached
    from jaxvision.runs.finished import Predictor, load, load_variables
    from jaxvision.runs.initial import backbone
    from jaxvision.runs.stopping import early_stopping
    from jaxvision.runs.studies import Study, study
    from jaxvision.runs.training import Trained, trained

__all__ = [
    "Predictor",
    "Study",
    "Trained",
    "backbone",
    "cached",
    "early_stopping",
    "load",
    "load_variables",
    "preparation",
    "run",
    "run_cases",
    "study",
    "trained",
]

_MODULE_OF = {
    "Predictor": "finished",
    "Study": "studies",
    "Trained": "training",
    "backbone": "initial",
    "cached": "features",
    "early_stopping": "stopping",
    "load": "finished",
    "load_variables": "finished",
    "preparation": "initial",
    "run": "execute",
    "run_cases": "execute",
    "study": "studies",
    "trained": "training",
}


def __getattr__(name: str) -> Any:
    # Not earlier: commands that only look at records need no JAX.
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
