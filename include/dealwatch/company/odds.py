"""How much more likely than usual a deal is to be lost or to move on today, given what a morning can see."""

from dataclasses import dataclass

import numpy as np

from dealwatch.company.calendar import Bools, Floats
from dealwatch.company.process import Drivers, Slope


@dataclass(frozen=True)
class Sight:
    """What is visible of each open deal in the morning; `stall` is days in stage over typical days."""

    stall: Floats
    silent_days: Floats
    pushes: Floats
    has_planned_step: Bools
    is_weak_rep: Bools
    is_weak_source: Bools
    is_weak_product: Bools


def loss_ratio(sight: Sight, drivers: Drivers) -> Floats:
    """Hazard ratio of losing against a deal on which every driver is neutral."""
    log_ratio = (
        _log_slope(drivers.stall, sight.stall)
        + _log_slope(drivers.silence, sight.silent_days)
        + _log_slope(drivers.push, sight.pushes)
        + np.log(drivers.planned_step) * sight.has_planned_step
        + np.log(drivers.weak_rep) * sight.is_weak_rep
        + np.log(drivers.weak_source) * sight.is_weak_source
        + np.log(drivers.weak_product) * sight.is_weak_product
    )
    return np.asarray(np.exp(log_ratio), dtype=np.float64)


def advance_ratio(sight: Sight, drivers: Drivers) -> Floats:
    """Hazard ratio of moving on or winning: stalled and silent deals slow down, fresh stages take time."""
    log_ratio = _log_slope(drivers.stall_slows, sight.stall) + _log_slope(
        drivers.silence_slows, sight.silent_days
    )
    warm_up = np.minimum(1.8, 0.25 + 1.75 * sight.stall)
    return np.asarray(warm_up * np.exp(log_ratio), dtype=np.float64)


def _log_slope(slope: Slope, fact: Floats) -> Floats:
    steps = np.clip((fact - slope.above) / slope.per, 0.0, slope.most)
    return np.asarray(np.log(slope.ratio) * steps, dtype=np.float64)
