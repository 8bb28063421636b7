"""The answer sheet of a simulated world: what is planted in it, what is innocent, and what came out."""

from typing import Any

import numpy as np

from dealwatch.company.book import Book
from dealwatch.company.calendar import Bools, Quarter, date_of
from dealwatch.company.demand import Demand
from dealwatch.company.people import Staff
from dealwatch.company.process import (
    DRIVERS,
    HABITS,
    LEAD_SOURCES,
    LEAKY_STAGE,
    LOST,
    PRODUCT_TYPES,
    REGIONS,
    STAGES,
    WEAK_PRODUCT,
    WEAK_PRODUCT_SHARE_IN_SHIFT,
    WEAK_SOURCE,
    WON,
    Slope,
)

_FORETELLING = {
    "stage": "later stages have less left to lose, so the stage foretells the outcome without pushing it",
    "age_days": "foretells through the stage, the stall and the pushes; held fixed, age does nothing",
}
INNOCENT = {
    "industry": "no effect",
    "region": "no effect",
    "currency": "always the same",
    "account": "no effect, nor has an account's earlier deal",
    "name": "new, expansion and renewal, and the seats, have no effect",
    "amount": "differs by product type; within one it has no effect, and neither has changing it",
    "owner_id": "one rep is weak; the others are alike, and being handed over has no effect",
    "lead_source": "one source is weak; the others are alike",
    "created_at": "no effect of weekday, month or season, nor of the deal's age once days in stage are known",
    "quarter_end": "more happens in the last week of a month, to winners and losers alike",
    "activities": "kind and direction have no effect; number only through the days since the last touch",
    "pull_ins": "moving a close date closer has no effect",
}


def truth(world: str, *, staff: Staff, shift: Quarter | None, measured: dict[str, Any]) -> dict[str, Any]:
    """What truth.json says."""
    planted = world != "null"
    leaver = staff.owners[staff.leaver]
    return {
        "world": world,
        "summary": _PLANTED if planted else _NULL,
        "process": {
            "typical_days_in_stage": {stage.name: stage.typical_days for stage in STAGES},
            "lost_per_deal_moved_on": {stage.name: stage.loss_share for stage in STAGES},
            "stage_factor_of_product_type": {kind.name: kind.stage_factor for kind in PRODUCT_TYPES},
        },
        "drivers": _drivers(staff) if planted else [],
        "hidden": _HIDDEN,
        "foretelling": _FORETELLING if planted else {},
        "innocent": INNOCENT if planted else dict.fromkeys((*INNOCENT, *_driver_names(staff)), "no effect"),
        "weak_rep": staff.owners[staff.weak_rep].owner_id if planted else None,
        "weak_lead_source": LEAD_SOURCES[WEAK_SOURCE].name if planted else None,
        "weak_product_type": PRODUCT_TYPES[WEAK_PRODUCT].name if planted else None,
        "mix_shift": _mix_shift(shift, planted=planted),
        "leaver": {"owner_id": leaver.owner_id, "left_on": date_of(staff.left_on).isoformat()},
        "measured": measured,
    }


def measure(demand: Demand, book: Book, staff: Staff, shift: Quarter | None) -> dict[str, Any]:
    """What came out: counts, win rates among closed deals and median days to a win."""
    won, closed = book.stage == WON, book.stage >= WON
    days = (book.closed_at - demand.created_at) / 86_400
    is_weak_rep = book.owner == staff.weak_rep
    products = {kind.name: demand.product == code for code, kind in enumerate(PRODUCT_TYPES)}
    sources = {source.name: demand.source == code for code, source in enumerate(LEAD_SOURCES)}
    regions = {region.name: demand.region == code for code, region in enumerate(REGIONS)}
    inside = np.zeros_like(won)
    if shift is not None:
        inside = (demand.created_on >= shift.first) & (demand.created_on < shift.past)
    is_weak_product = demand.product == WEAK_PRODUCT
    return {
        "deals": len(won),
        "won": int(won.sum()),
        "lost": int((book.stage == LOST).sum()),
        "open": int((~closed).sum()),
        "win_rate": _share(won, closed),
        "win_rate_of_weak_rep": _share(won, closed & is_weak_rep),
        "win_rate_of_other_reps": _share(won, closed & ~is_weak_rep),
        "win_rate_by_product_type": {name: _share(won, closed & mine) for name, mine in products.items()},
        "win_rate_by_lead_source": {name: _share(won, closed & mine) for name, mine in sources.items()},
        "win_rate_by_region": {name: _share(won, closed & mine) for name, mine in regions.items()},
        "won_cycle_days_median": _median(days[won]),
        "won_cycle_days_median_by_product_type": {
            name: _median(days[won & mine]) for name, mine in products.items()
        },
        "weak_product_share_in_shift_quarter": _share(is_weak_product, inside),
        "weak_product_share_elsewhere": _share(is_weak_product, ~inside),
    }


def _drivers(staff: Staff) -> list[dict[str, Any]]:
    """The planted drivers, strongest first: strength is how far it can move losing against moving on."""
    weak_rep = staff.owners[staff.weak_rep].owner_id
    source, product = LEAD_SOURCES[WEAK_SOURCE].name, PRODUCT_TYPES[WEAK_PRODUCT].name
    typical = "days in the stage over typical days of the stage and product type"
    found = [
        _sloped("stall", typical, DRIVERS.stall, DRIVERS.stall_slows),
        _sloped("silence", "days since the last touch", DRIVERS.silence, DRIVERS.silence_slows),
        _sloped("push", "times the close date was pushed", DRIVERS.push, None),
        _flat("weak_rep", f"owner_id = {weak_rep}", DRIVERS.weak_rep),
        _flat("weak_lead_source", f"lead_source = {source}", DRIVERS.weak_source),
        _flat("weak_product_type", f"product_type = {product}", DRIVERS.weak_product),
        _flat("planned_step", "next_step_on is today or later", DRIVERS.planned_step),
    ]
    return sorted(found, key=lambda driver: -float(driver["strength"]))


def _driver_names(staff: Staff) -> list[str]:
    return [driver["name"] for driver in _drivers(staff)]


def _sloped(name: str, fact: str, losing: Slope, advancing: Slope | None) -> dict[str, Any]:
    most = losing.ratio**losing.most
    slows = advancing.ratio**advancing.most if advancing else 1.0
    return {
        "name": name,
        "fact": fact,
        "loss_hazard_ratio": losing.ratio,
        "per": losing.per,
        "above": losing.above,
        "at_most": round(most, 2),
        "advance_hazard_ratio": advancing.ratio if advancing else 1.0,
        "strength": round(most / slows, 2),
    }


def _flat(name: str, fact: str, ratio: float) -> dict[str, Any]:
    return {
        "name": name,
        "fact": fact,
        "loss_hazard_ratio": ratio,
        "at_most": ratio,
        "advance_hazard_ratio": 1.0,
        "strength": round(max(ratio, 1 / ratio), 2),
    }


def _mix_shift(shift: Quarter | None, *, planted: bool) -> dict[str, Any] | None:
    if shift is None:
        return None
    return {
        "quarter": shift.name,
        "first_day": date_of(shift.first).isoformat(),
        "last_day": date_of(shift.past - 1).isoformat(),
        "by": "created_at",
        "column": "product_type",
        "segment": PRODUCT_TYPES[WEAK_PRODUCT].name,
        "share_usually": PRODUCT_TYPES[WEAK_PRODUCT].share,
        "share_in_quarter": WEAK_PRODUCT_SHARE_IN_SHIFT,
        "changes_win_rate": planted,
    }


def stage_leak(first: int) -> dict[str, Any]:
    """The stage that loses more from a day on, and by which factor."""
    return {
        "stage": STAGES[LEAKY_STAGE].name,
        "first_day": date_of(first).isoformat(),
        "loss_hazard_ratio": DRIVERS.leak,
    }


def _share(what: Bools, among: Bools) -> float | None:
    return round(float(what[among].mean()), 4) if among.any() else None


def _median(days: Any) -> float | None:
    return round(float(np.median(days)), 1) if len(days) else None


_PLANTED = (
    "Each day a deal is lost with odds that the drivers multiply. Stalled and silent deals also move on more "
    "slowly. Everything that acts was visible that morning. A product type with longer stages has a little "
    "more time to go wrong, which is its only effect unless it is the weak one."
)
_NULL = (
    "The same company as the planted world of this seed, but whether a closing deal was won or lost is a "
    "coin toss that looks at nothing. Whatever is known about a deal, its chance of being won is the same."
)
_HIDDEN = (
    f"Some buyers are quiet ({HABITS.starts_quiet:.0%} of deals from the start), which nobody records: they "
    f"are touched on {HABITS.touch_when_quiet:.1%} of working days instead of {HABITS.touch:.0%}. It acts "
    "only through silence, and through the next steps that are then not planned."
)
