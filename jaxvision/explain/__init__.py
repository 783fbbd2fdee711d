"""What a network sees, and why it says what it says: functions of its pure functions.

Attributions take a `Score`, such as `class_score(forward, k)` or the `part_score` of
what a task says, and images as the network takes them, and return arrays; `visualise`
draws them, and `report` puts all of it on one page.  Nothing here knows an
architecture: what belongs to an activation in the middle of a network is found in its
traced program.

    forward = lambda images: predictor.model.apply(predictor.variables, images)[0]
    relevance = explain.integrated_gradients(
        explain.class_score(forward, 7), images, baseline=0.0
    )
"""

from jaxvision.explain.attention import attention_maps, attention_rollout
from jaxvision.explain.cam import grad_cam, grad_cam_plus_plus
from jaxvision.explain.curves import deletion_curve, insertion_curve
from jaxvision.explain.exciting import Exciting, exciting
from jaxvision.explain.filters import filters_over_training, first_filters
from jaxvision.explain.gradients import integrated_gradients, saliency, smooth_grad
from jaxvision.explain.occlusion import occlusion
from jaxvision.explain.optimised import deep_dream, optimised_images, unit_score
from jaxvision.explain.projection import projection
from jaxvision.explain.scores import Forward, Score, class_score, part_score

__all__ = [
    "Exciting",
    "Forward",
    "Score",
    "attention_maps",
    "attention_rollout",
    "class_score",
    "deep_dream",
    "deletion_curve",
    "exciting",
    "filters_over_training",
    "first_filters",
    "grad_cam",
    "grad_cam_plus_plus",
    "insertion_curve",
    "integrated_gradients",
    "occlusion",
    "optimised_images",
    "part_score",
    "projection",
    "saliency",
    "smooth_grad",
    "unit_score",
]
