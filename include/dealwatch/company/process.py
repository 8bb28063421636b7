"""How the demo company sells: its stages, its products, and what makes its deals go wrong.

Every number of the simulation is here. `truth.py` prints the planted ones from the same values, so the answer
sheet cannot drift from the world.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A step of the sales process. `loss_share`: lost per deal moved on, all drivers neutral."""

    name: str
    typical_days: float
    loss_share: float


@dataclass(frozen=True)
class ProductType:
    """What is sold. `stage_factor` stretches the typical days of every stage; `share` is of deals created."""

    name: str
    share: float
    stage_factor: float
    seat_price: int
    typical_seats: int


@dataclass(frozen=True)
class Region:
    """A sales region: its share of accounts, and the time zone its reps work in."""

    name: str
    share: float
    time_zone: str


@dataclass(frozen=True)
class LeadSource:
    """Where deals come from, and which share of them."""

    name: str
    share: float


@dataclass(frozen=True)
class Slope:
    """An effect that grows: `ratio` per `per` units of a fact above `above`, in at most `most` steps."""

    ratio: float
    above: float
    per: float
    most: float


@dataclass(frozen=True)
class Drivers:
    """What multiplies a deal's daily odds. Losing: stall to leak. Moving on or winning: the slows."""

    stall: Slope = Slope(2.6, above=1.0, per=1.0, most=3.0)
    silence: Slope = Slope(2.3, above=7.0, per=10.0, most=2.0)
    push: Slope = Slope(1.9, above=0.0, per=1.0, most=3.0)
    weak_rep: float = 5.0
    weak_source: float = 2.8
    weak_product: float = 4.5
    planned_step: float = 0.60
    leak: float = 4.0
    stall_slows: Slope = Slope(0.40, above=1.0, per=1.0, most=3.0)
    silence_slows: Slope = Slope(0.22, above=7.0, per=10.0, most=2.0)


@dataclass(frozen=True)
class Habits:
    """How often, per working day, people do what leaves a trace. None of it looks at how a deal will end."""

    touch: float = 0.34
    touch_when_quiet: float = 0.02
    reply: float = 0.35
    starts_quiet: float = 0.26
    goes_quiet: float = 0.0025
    wakes_up: float = 0.003
    push: float = 0.20
    push_when_overdue: float = 0.32
    pull_in: float = 0.006
    reprice: float = 0.004
    reprice_late: float = 0.012
    plan: float = 0.60
    tidy: float = 0.03
    reassign: float = 0.0006
    step_back: float = 0.05
    skip_stage: float = 0.08
    weekend_pace: float = 0.05
    month_end_pace: float = 1.25


STAGES = (
    Stage("Qualification", 11.0, 0.034),
    Stage("Discovery", 14.0, 0.024),
    Stage("Demo", 13.0, 0.015),
    Stage("Proposal", 15.0, 0.012),
    Stage("Negotiation", 14.0, 0.008),
    Stage("Legal Review", 11.0, 0.006),
)
WON, LOST = len(STAGES), len(STAGES) + 1
STAGE_NAMES = (*(stage.name for stage in STAGES), "Closed Won", "Closed Lost")
LEAKY_STAGE = STAGE_NAMES.index("Proposal")
PROPOSAL = STAGE_NAMES.index("Proposal")
NEGOTIATION = STAGE_NAMES.index("Negotiation")

PRODUCT_TYPES = (
    ProductType("Core", 0.40, 0.95, 600, 80),
    ProductType("Enterprise", 0.18, 1.55, 900, 260),
    ProductType("Starter", 0.22, 0.75, 300, 20),
    ProductType("Analytics", 0.20, 1.10, 350, 60),
)
REGIONS = (
    Region("EMEA", 0.33, "Europe/Berlin"),
    Region("North America", 0.43, "America/New_York"),
    Region("APAC", 0.24, "Asia/Kolkata"),
)
LEAD_SOURCES = (
    LeadSource("Inbound", 0.34),
    LeadSource("Referral", 0.14),
    LeadSource("Partner", 0.22),
    LeadSource("Outbound", 0.30),
)
WEAK_PRODUCT = [product.name for product in PRODUCT_TYPES].index("Starter")
WEAK_SOURCE = [source.name for source in LEAD_SOURCES].index("Outbound")
WEAK_PRODUCT_SHARE_IN_SHIFT = 0.48
DEAL_KINDS = ("new", "expansion", "renewal")
DISCOUNTS = (0.85, 0.90, 0.95, 1.10)
GROWTH = 0.25
CURRENCY = "USD"
DRIVERS = Drivers()
HABITS = Habits()
