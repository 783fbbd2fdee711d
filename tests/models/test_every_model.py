"""What is found in the program of every model.

A test for each, since tracing takes the time and the checks share what was traced.
They are where the others of their subjects are.
"""

import pytest

from tests.models import test_blocks, test_head, test_levels
from tests.models.zoo import EVERY_MODEL


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_blocks_head_and_strides(name):
    test_blocks.check_that_blocks_rise_from_the_stem_to_the_head(name)
    test_blocks.check_that_layer_decay_has_one_rate_for_each_parameter(name)
    test_head.check_that_the_head_is_the_layer_of_class_scores(name)
    test_levels.check_that_strides_are_those_of_the_family(name)
