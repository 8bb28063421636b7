"""Which deals come in, and how each begins: account, product, source, owner, price and first expectations."""

from dataclasses import dataclass

import numpy as np

from dealwatch.company.calendar import (
    DAY_SECONDS,
    HOUR,
    OPENS,
    Floats,
    Ints,
    Quarter,
    next_working_day,
    paces,
    utc_offsets,
)
from dealwatch.company.names import FAMILIES, FORMS, PLACES, TRADES
from dealwatch.company.people import Staff
from dealwatch.company.process import (
    DEAL_KINDS,
    GROWTH,
    LEAD_SOURCES,
    PRODUCT_TYPES,
    REGIONS,
    STAGES,
    WEAK_PRODUCT,
    WEAK_PRODUCT_SHARE_IN_SHIFT,
)

CYCLE_DAYS = sum(stage.typical_days for stage in STAGES)
DEALS_PER_ACCOUNT = 2
STAGE_FACTORS = np.array([product.stage_factor for product in PRODUCT_TYPES])


@dataclass(frozen=True)
class Demand:
    """Every deal as it is created, oldest first. Days are day numbers; `created_at` is in UTC seconds."""

    created_on: Ints
    created_at: Ints
    account: Ints
    region: Ints
    product: Ints
    source: Ints
    kind: Ints
    seats: Ints
    owner: Ints
    amount: Ints
    close_on: Ints
    next_step_on: Ints
    stage_factor: Floats


@dataclass(frozen=True)
class Accounts:
    """The companies that are sold to; names are positions in the word lists of names.py."""

    name: Ints
    region: Ints

    @property
    def family(self) -> Ints:
        return self.name // len(TRADES) % len(FAMILIES)

    @property
    def trade(self) -> Ints:
        return self.name % len(TRADES)

    @property
    def place(self) -> Ints:
        return self.name // (len(TRADES) * len(FAMILIES)) % len(PLACES)

    @property
    def form(self) -> Ints:
        return self.name // (len(TRADES) * len(FAMILIES) * len(PLACES)) % len(FORMS)


def accounts(rng: np.random.Generator, *, deals: int) -> Accounts:
    """About one account for every two deals; plain names go first, each name once while they last."""
    count = max(1, deals // DEALS_PER_ACCOUNT)
    plain = len(FAMILIES) * len(TRADES)
    longer = plain * (len(PLACES) * len(FORMS) - 1)
    name = np.concatenate([rng.permutation(plain), plain + rng.permutation(longer)])
    region = _pick(rng, [region.share for region in REGIONS], count)
    return Accounts(np.resize(name, count).astype(np.int64), region)


def demand(
    rng: np.random.Generator, staff: Staff, book: Accounts, *, days: Ints, deals: int, shift: Quarter | None
) -> Demand:
    """Draw `deals` new deals over `days`; in the quarter `shift` the weak product takes a larger share."""
    created_on = _creation_days(rng, days, deals)
    account = rng.integers(0, len(book.name), deals)
    region = book.region[account]
    local = OPENS + (rng.random(deals) * 10 * HOUR).astype(np.int64)
    created_at = created_on * DAY_SECONDS + local - utc_offsets(days)[created_on - days[0], region]
    order = np.lexsort((account, created_at))
    created_on, created_at = created_on[order], created_at[order]
    account, region = account[order], region[order]
    product = _products(rng, created_on, shift)
    seats = _seats(rng, product)
    prices = np.array([kind.seat_price for kind in PRODUCT_TYPES], dtype=np.int64)
    expected = CYCLE_DAYS * STAGE_FACTORS[product] * np.exp(rng.normal(-0.55, 0.35, deals))
    return Demand(
        created_on=created_on,
        created_at=created_at,
        account=account,
        region=region,
        product=product,
        source=_pick(rng, [source.share for source in LEAD_SOURCES], deals),
        kind=_pick(rng, [0.55, 0.25, 0.20], deals) % len(DEAL_KINDS),
        seats=seats,
        owner=_owners(rng, staff, created_on, region),
        amount=seats * prices[product],
        close_on=next_working_day(created_on + 7 + expected.astype(np.int64)),
        next_step_on=next_working_day(created_on + rng.integers(2, 9, deals)),
        stage_factor=STAGE_FACTORS[product],
    )


def _creation_days(rng: np.random.Generator, days: Ints, deals: int) -> Ints:
    weights = paces(days) * np.linspace(1.0, 1.0 + GROWTH, len(days))
    cumulated = np.cumsum(weights)
    drawn = np.searchsorted(cumulated, rng.random(deals) * cumulated[-1], side="right")
    return np.asarray(days[np.minimum(drawn, len(days) - 1)])


def _products(rng: np.random.Generator, created_on: Ints, shift: Quarter | None) -> Ints:
    usual = _pick(rng, [product.share for product in PRODUCT_TYPES], len(created_on))
    if shift is None:
        return usual
    weak = PRODUCT_TYPES[WEAK_PRODUCT].share
    moved = (WEAK_PRODUCT_SHARE_IN_SHIFT - weak) / (1.0 - weak)
    inside = (created_on >= shift.first) & (created_on < shift.past)
    return np.where(inside & (rng.random(len(created_on)) < moved), WEAK_PRODUCT, usual)


def _seats(rng: np.random.Generator, product: Ints) -> Ints:
    typical = np.array([kind.typical_seats for kind in PRODUCT_TYPES], dtype=np.float64)[product]
    drawn = typical * np.exp(rng.normal(0.0, 0.55, len(product)))
    return np.maximum(1, np.rint(drawn / 5).astype(np.int64)) * 5


def _owners(rng: np.random.Generator, staff: Staff, created_on: Ints, region: Ints) -> Ints:
    chance = rng.random(len(region))
    owner = np.zeros(len(region), dtype=np.int64)
    for area in range(len(REGIONS)):
        for with_leaver in (True, False):
            mine = (region == area) & ((created_on < staff.left_on) == with_leaver)
            sellers = staff.sellers(area, with_leaver=with_leaver)
            owner[mine] = sellers[(chance[mine] * len(sellers)).astype(np.int64)]
    return owner


def _pick(rng: np.random.Generator, shares: list[float], count: int) -> Ints:
    cumulated = np.cumsum(shares)
    drawn = np.searchsorted(cumulated, rng.random(count) * cumulated[-1], side="right")
    return np.asarray(np.minimum(drawn, len(shares) - 1), dtype=np.int64)
