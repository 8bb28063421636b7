"""Which field of a source is what to us: guessed by name and type, with how sure we are and why.

A guess is for a person to read. Nothing is taken over by a machine.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dealwatch.crm.connecting import Field, Kind
from dealwatch.crm.contract import COLUMNS, Object

SURE, LIKELY, MAYBE = 0.97, 0.8, 0.62
# What people call it, in words; the first is our own name.
_CALLED: Mapping[str, str] = {
    "deal_id": "deal id|id|opportunity id|record id|hs object id|deal key|sf id|crm id",
    "name": "name|deal name|opportunity name|dealname|title",
    "account": "account|account name|company|company name|customer|customer name|organisation|client",
    "amount": "amount|deal amount|value|deal value|acv|arr|tcv|total amount|net amount|price",
    "currency": "currency|currency code|currency iso code|deal currency code|iso currency",
    "stage": "stage|stage name|deal stage|dealstage|sales stage|pipeline stage|opportunity stage",
    "owner_id": "owner id|owner|deal owner|opportunity owner|account owner|hubspot owner id|rep|sales agent",
    "created_at": "created at|created date|create date|createdate|created|created on|date created|entered",
    "close_date": "close date|closedate|expected close date|planned close date|target close date",
    "next_step_on": "next step on|next step date|next activity date|next meeting|follow up date",
    "closed_at": "closed at|closed on|closed date|actual close date|date closed|closing date",
    "outcome": "outcome|result|deal outcome|won lost|win loss|status",
    "industry": "industry|sector|branch|vertical|account industry",
    "region": "region|sales region|territory|area|geo|market|country|office location",
    "product_type": "product type|product|product line|product family|type|deal type|dealtype|solution",
    "lead_source": "lead source|source|channel|origin|hs analytics source|acquisition channel",
    # Of what tells the deals' history, touches and owners.
    "changed_at": "changed at|changed on|created date|modified at|change date|timestamp",
    "field": "field|field name|property|column",
    "old_value": "old value|oldvalue|previous value|from value|before",
    "new_value": "new value|newvalue|to value|value|after",
    "happened_at": "happened at|activity date|start date time|date|timestamp|occurred at|due date",
    "kind": "kind|type|activity type|task subtype|channel",
    "direction": "direction|call direction|email direction|inbound",
    "by": "by|user|owner id|created by|author",
    "email": "email|e mail|mail|email address",
    "manager_id": "manager id|manager|reports to",
    "time_zone": "time zone|timezone|time zone sid key|tz",
    "slack_user_id": "slack user id|slack id",
    "active": "active|is active|enabled",
}
_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "amount": ("number",),
    **{name: ("date",) for name in ("created_at", "close_date", "next_step_on", "closed_at")},
    **{name: ("date",) for name in ("changed_at", "happened_at")},
    "deal_id": ("id", "text", "number"),
    "owner_id": ("id", "text", "number"),
    "active": ("flag", "text"),
    "old_value": ("text", "other", "number", "date"),
    "new_value": ("text", "other", "number", "date"),
}
_CLOSE = re.compile(
    r"\b(loss|lost|won|win|close|closed|churn|cancel\w*|disqualif\w*|reject\w*|decline\w*|outcome|dq)\b"
)
_TELLS = re.compile(
    r"\b(reason|reasons|note|notes|comment|detail|details|category|to|cause|competitor|why)\b"
)
# A field that says so is of another time, deal or person than ours, however much of its name is the same.
_ANOTHER = frozenset(
    "previous prior original first initial former old last won lost win loss closed final invoice invoiced "
    "discount renewal expected forecast manager reason notes role rank count by history product sdr "
    "owner".split()
)
_ENDED = re.compile(r"\b(loss|lost|won|win|closed|churned|cancell?ed|signed|rejected|disqualified)\b")
_FORESEES = re.compile(r"\b(probability|chance|likelihood|rate|score|forecast|percent|expected|estimated)\b")
_A: Mapping[Kind, str] = {
    "text": "text", "number": "a number", "date": "a date", "flag": "a flag", "id": "an id"
}  # fmt: skip


@dataclass(frozen=True)
class Guess:
    """Our name = a source's field; how sure, from 0 to 1, and why."""

    ours: str
    field: str
    sure: float
    why: str

    @property
    def word(self) -> str:
        return "sure" if self.sure >= SURE else "likely" if self.sure >= LIKELY else "maybe"


def guesses(object_: Object, fields: Sequence[Field], *, without: Iterable[str] = ()) -> dict[str, Guess]:
    """The best candidate of each of our names that has one, each field for one name only.

    without: our names and fields that are spoken for.
    """
    spoken = {*without}
    found = [
        guess
        for ours in COLUMNS[object_]
        for field in fields
        if ours not in spoken and field.name not in spoken
        for guess in [_guess(ours, field)]
        if guess.sure >= MAYBE
    ]
    best: dict[str, Guess] = {}
    used = set[str]()
    for guess in sorted(found, key=lambda one: (-one.sure, COLUMNS[object_].index(one.ours), one.field)):
        if guess.ours not in best and guess.field not in used:
            best[guess.ours] = guess
            used.add(guess.field)
    return best


def _guess(ours: str, field: Field) -> Guess:
    kinds = _KINDS.get(ours, ("text", "id"))
    if field.kind not in kinds and field.kind != "other":
        return Guess(ours, field.name, 0, "")
    called = _CALLED.get(ours, ours.replace("_", " ")).split("|")
    best, why = 0.0, ""
    for told, what in ((words(field.name), "its name"), (words(field.label), "its label")):
        for place, word in enumerate(called):
            sure = _alike(told, word) - 0.01 * min(place, 8)
            if _ANOTHER & ({*told.split()} - {*word.split()}):
                sure = min(sure, LIKELY - 0.01)
            if sure > best:
                best, why = sure, f"{what} says {word}"
    best -= 0.08 * (field.kind == "other")
    is_told = ours in _KINDS and field.kind != "other"
    return Guess(ours, field.name, best, f"{why}, and it is {_A[field.kind]}" if is_told else why)


def _alike(told: str, word: str) -> float:
    """How alike two names in words are: all of the one in the other counts for more than like letters."""
    if not told:
        return 0.0
    if told.replace(" ", "") == word.replace(" ", ""):
        return 1.0
    own, theirs = {*word.split()}, {*told.split()}
    if own <= theirs and len(word) > 4:
        return 0.93 - 0.06 * len(theirs - own)
    return 0.85 * difflib.SequenceMatcher(None, told, word).ratio()


def words(name: str) -> str:
    """`Next_Step_Date__c`, `nextStepDate` and `Next step (date)` in plain words."""
    bare = re.sub(r"__(c|r|pc)\b|(?<=[a-z0-9])_c$", "", name)  # Fivetran writes region_c
    bare = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", bare)
    return " ".join(re.findall(r"[^\W_]+", bare.casefold()))


def tells_the_end(field: Field) -> bool:
    """Whether its name sounds like what only a closed deal has, such as a loss reason."""
    if field.kind in ("date", "flag", "id"):
        return False
    return any(
        _CLOSE.search(told) and _TELLS.search(told) for told in (words(field.name), words(field.label))
    )


def sounds_ended(field: Field) -> bool:
    """Whether a column may be filled by the close alone, such as Lost Date or Won Amount; of any kind."""
    told = (words(field.name), words(field.label))
    return any(_ENDED.search(one) and not _FORESEES.search(one) for one in told)


def our_name(field: Field) -> str:
    """A name of ours for a field that the contract does not know."""
    name = "_".join(words(field.name.rpartition(".")[2]).split()).encode("ascii", "ignore").decode()
    return name or "attribute"
