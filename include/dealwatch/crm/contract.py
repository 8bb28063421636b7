"""The file contract: which objects a drop holds, their columns, and what each column means."""

from typing import Literal

Object = Literal["owners", "deals", "deal_history", "activities", "deletions", "ids"]
# The order of reading; owners first only because they are few.
OBJECTS: tuple[Object, ...] = ("owners", "deals", "deal_history", "activities")
# What only a live source tells: ids of deals that are gone or back, and the ids of all deals there are.
# What is gone comes first, because the rest of the drop may still tell of it.
LIVE_OBJECTS: tuple[Object, ...] = ("deletions", *OBJECTS, "ids")

REQUIRED: dict[Object, tuple[str, ...]] = {
    "owners": ("owner_id",),
    "deals": ("deal_id", "stage", "created_at"),
    "deal_history": ("deal_id", "changed_at", "field"),
    "activities": ("deal_id", "happened_at"),
    "deletions": ("deal_id",),
    "ids": ("deal_id",),
}
OPTIONAL: dict[Object, tuple[str, ...]] = {
    "owners": ("name", "email", "manager_id", "time_zone", "slack_user_id", "active"),
    "deals": (
        "name",
        "account",
        "amount",
        "currency",
        "owner_id",
        "close_date",
        "next_step_on",
        "closed_at",
        "outcome",
        "industry",
        "region",
        "product_type",
        "lead_source",
    ),
    "deal_history": ("old_value", "new_value"),
    "activities": ("kind", "direction", "by"),
    "deletions": ("is_deleted",),
    "ids": (),
}
COLUMNS: dict[Object, tuple[str, ...]] = {name: REQUIRED[name] + OPTIONAL[name] for name in LIVE_OBJECTS}

NUMBERS = ("amount",)
DATES = ("close_date", "next_step_on")
OUTCOMES = ("won", "lost")
# What the ledger derives or keeps itself: neither an attribute nor a tracked field may be called so.
RESERVED = ("deleted",)
UNTRACKED = ("deal_id", "created_at", "closed_at", *RESERVED)
