"""Learning rates as functions of the step, named as papers name them.

Each is an optax schedule (`step -> rate`) whose arguments have been checked.
"""

from collections.abc import Sequence

import optax

from jaxvision.errors import check


def constant(rate: float) -> optax.Schedule:
    """The same rate at every step."""
    check(_positive("rate", rate))
    return optax.constant_schedule(rate)


def step(
    rate: float, *, drops: Sequence[int], factor: float = 0.1, warmup: int = 0
) -> optax.Schedule:
    """`rate`, multiplied by `factor` at each of the steps `drops`.

    Before, it rises linearly from 0 over `warmup` steps, as in Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677.
    """
    check(
        _positive("rate", rate),
        (0 < factor <= 1, f"factor must be in (0, 1], got {factor}"),
        (
            list(drops) == sorted(set(drops)) and all(drop > 0 for drop in drops),
            f"drops must be increasing positive steps, got {list(drops)}",
        ),
        (
            0 <= warmup <= min(drops, default=warmup),
            f"warmup must be over before the first of the drops, got {warmup} and "
            f"{list(drops)}",
        ),
    )
    steps = optax.piecewise_constant_schedule(rate, dict.fromkeys(drops, factor))
    if warmup == 0:
        return steps
    rise = optax.linear_schedule(0.0, 1.0, warmup)
    return lambda number: rise(number) * steps(number)


def warmup_cosine(
    peak: float,
    *,
    steps: int,
    warmup: int = 0,
    end: float = 0.0,
    power: float = 1.0,
    hold: int = 0,
) -> optax.Schedule:
    """From 0 to `peak` over `warmup` steps, half a cosine to `end` at `steps`.

    Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983; Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677.

    Args:
      power: of the share of the warm-up that is over; 1: it is linear.
      hold: steps before the last one in which the rate is `end` already.
    """
    check(
        _positive("peak", peak),
        (0 <= end <= peak, f"end must be in [0, peak], got {end}"),
        (
            0 <= warmup < steps,
            f"warmup must be in [0, {steps}), the steps of the run, got {warmup}",
        ),
        (power > 0, f"power must be positive, got {power}"),
        (
            0 <= hold < steps - warmup,
            f"hold must be in [0, {steps - warmup}), the steps after the warm-up, got "
            f"{hold}",
        ),
    )
    last = steps - hold
    first = peak if warmup == 0 else 0.0
    if power == 1:
        return optax.warmup_cosine_decay_schedule(first, peak, warmup, last, end)
    fall = optax.cosine_decay_schedule(peak, last - warmup, alpha=end / peak)
    return optax.join_schedules(
        [lambda number: peak * (number / max(warmup, 1)) ** power, fall], [warmup]
    )


def polynomial(rate: float, *, steps: int, power: float = 0.9) -> optax.Schedule:
    """`rate · (1 - step / steps)^power`.

    Chen et al. 2018, https://arxiv.org/abs/1606.00915, section 4.1, and most work on
    segmentation since.
    """
    check(
        _positive("rate", rate),
        (steps > 0, f"steps must be positive, got {steps}"),
        (power > 0, f"power must be positive, got {power}"),
    )
    return optax.polynomial_schedule(rate, 0.0, power, steps)


def one_cycle(peak: float, *, steps: int, warmup: float = 0.3) -> optax.Schedule:
    """Cosines from `peak`/25 up to `peak` at `warmup`·steps, down to `peak`/250,000.

    Smith and Topin 2018, https://arxiv.org/abs/1708.07120, with cosine annealing.
    """
    check(
        _positive("peak", peak),
        (steps > 0, f"steps must be positive, got {steps}"),
        (0 < warmup < 1, f"warmup must be a fraction in (0, 1), got {warmup}"),
    )
    return optax.cosine_onecycle_schedule(steps, peak, warmup)


def _positive(name: str, rate: float) -> tuple[bool, str]:
    return rate > 0, f"{name} of the learning rate must be positive, got {rate}"
