"""The recipe that experiments of segmentation share."""

import json

import pytest

from experiments import segmentation_recipe
from jaxvision.recipes import recipe_of


@pytest.mark.parametrize("balance", [False, True])
def test_what_is_learned_is_data_so_that_a_run_is_used_without_its_code(balance):
    config = segmentation_recipe.Config(**segmentation_recipe.SMOKE, balance=balance)
    experiment = segmentation_recipe.build(config, model="unet_small", published={})
    saved = json.dumps(recipe_of(experiment.task))
    assert "cross_entropy" in saved and "elsewhere" not in saved
