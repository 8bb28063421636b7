"""Read HubSpot: every deal each night with the history of what we track, as all stood when the night began.

Nothing is asked for by what changed since: such lists miss what the index does not hold yet. What is not
there any more is gone, and the archived deals say so themselves. Touches are read of deals that are open or
changed since the last night; what a closed deal that nobody touched again was told before, the ledger has.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from dealwatch.crm.api import Declined
from dealwatch.crm.hubspot.answers import Listed, Thing, text_frame
from dealwatch.crm.hubspot.api import HubSpot
from dealwatch.crm.hubspot.kept import Kept
from dealwatch.crm.hubspot.named import named
from dealwatch.crm.hubspot.opening import client_of
from dealwatch.crm.hubspot.plan import TOUCHES, asked_of, mapping_of, refuse_vanished, tracked_by
from dealwatch.crm.hubspot.rows import HISTORY, Asked, deal_rows
from dealwatch.crm.hubspot.touches import COLUMNS as TOUCH
from dealwatch.crm.hubspot.touches import KINDS, touch_rows
from dealwatch.crm.hubspot.values import instants
from dealwatch.crm.pages import Page, Past, PlaceLost, Plan, Table
from dealwatch.crm.stages import Stage
from dealwatch.errors import SourceDown
from dealwatch.knobs import RecordMapping
from dealwatch.settings import Settings
from dealwatch.sources import HubSpot as Source

log = logging.getLogger(__name__)

OWNER = ("owner_id", "name", "email", "active")
GONE = ("deal_id",)
_CIRCLE = "HubSpot: the cursors of a list lead in a circle"
_LISTS_A_TURN = 5  # lists of deals whose touches make one page
# By how much a list may differ from the index's count: it lags, and deals go meanwhile.
_FEW, _SHARE = 20, 0.01

Rows = Iterator[tuple[pl.DataFrame, dict[str, Any] | None]]  # and the place after them
Ask = Callable[..., Listed]  # takes the cursor as `after`


class HubSpotReader:
    """One HubSpot account as a source; see `pages.Reader`."""

    def __init__(
        self,
        api: HubSpot,
        *,
        mapping: RecordMapping,
        touches: Sequence[str] = TOUCHES,
        overlap: timedelta = timedelta(days=1),
    ) -> None:
        self._api, self._mapping = api, mapping
        self._touches, self._overlap = touches, overlap
        self._kept = Kept()

    def plan(self, past: Past) -> Plan:
        """Tables of owners, deals, their history, those archived, and touches.

        Raises ExtractRefused when a mapped property is not there or may not be read.
        """
        return self._planned(past, ())

    def plan_of(self, past: Past, deal_ids: Sequence[str]) -> Plan:
        """The same of these deals alone, without the owners."""
        return self._planned(past, tuple(deal_ids))

    def _planned(self, past: Past, ids: tuple[str, ...]) -> Plan:
        """The plan of a night, or of the deals `ids` if there are any."""
        begun_at = self._api.clock()
        known = self._api.properties("deals")
        mapping = mapping_of(self._mapping, known, lambda: self._api.properties("companies"))
        for before in past.last.feeding("deals") if past.last else ():
            refuse_vanished(mapping, before.mapping, self._mapping)
        until = f"{begun_at:%Y-%m-%dT%H:%M:%S}.000Z"
        stages = self._api.stages()
        asked = asked_of(mapping, known, stages, until=until, is_first=past.last is None)
        own = {"ids": ids} if ids else {}
        deals = {"asked": asdict(asked), "count": 0 if ids else self._api.count("deals"), **own}
        since = None if ids else self._since(past)
        touches = {
            "kinds": list(self._touches),
            "stages": asked.stages,
            "until": until,
            "since": f"{since:%Y-%m-%dT%H:%M:%S}.000Z" if since else None,
            **own,
        }
        tables = [
            *([] if ids else [Table("owners", OWNER, "owners")]),
            Table("deals", asked.columns, "deals", mapping, json.dumps(deals)),
            Table("deal history", HISTORY, "deal_history", request=json.dumps(deals)),
            # After the deals, so that one that was restored meanwhile is not told as gone.
            Table("archived deals", GONE, "deletions", request=json.dumps({"until": until, **own})),
        ]
        if self._touches:
            tables.append(Table("touches", TOUCH, "activities", request=json.dumps(touches)))
        return Plan(
            tuple(tables),
            begun_at=begun_at,
            covers="some" if ids else "all",
            tracked=tracked_by(mapping),
            stages=tuple(Stage(one.id, one.id, one.label, one.outcome) for one in stages),
        )

    def still_there(self, deal_ids: Sequence[str]) -> set[str]:
        return {thing["id"] for thing in self._api.read("deals", deal_ids, properties=())} & {*deal_ids}

    def close(self) -> None:
        self._api.close()

    def _since(self, past: Past) -> datetime | None:
        """From when on a closed deal's touches may be news; None when a kind of them was never read."""
        tables = past.last.tables if past.last else ()
        read = {kind for one in tables if one.name == "touches" for kind in json.loads(one.request)["kinds"]}
        return past.last.begun_at - self._overlap if past.last and read >= {*self._touches} else None

    def pages(self, table: Table, place: str | None) -> Iterator[Page]:
        """The pages of a table of the plan, from the place on."""
        told = json.loads(table.request) if table.request else {}
        at = json.loads(place) if place else {}
        ways = {
            "owners": self._owners,
            "archived deals": self._archived,
            "deals": self._deals,
            "deal history": self._history,
            "touches": self._touched,
        }
        for rows, following in ways[table.name](told, at):
            yield Page(table.name, rows, json.dumps(following) if following else None)

    def _owners(self, told: Any, at: Mapping[str, Any]) -> Rows:
        """Those who left come last, so that whoever came back is told as active."""
        for is_archived in (True,) if at.get("is_archived") else (False, True):
            ask = partial(self._api.owners, is_archived=is_archived)
            lists, at = self._lists(at.get("after"), ask), {}
            for listed, after in lists:
                following = {"is_archived": is_archived, "after": after} if after else {"is_archived": True}
                yield _owner_rows(listed.things), None if is_archived and not after else following

    def _archived(self, told: Any, at: Mapping[str, Any]) -> Rows:
        """What was in the recycling bin by the moment; what went there since is still told as a deal."""
        ask = partial(self._list(told), properties=(), is_archived=True)
        for listed, after in self._lists(at.get("after"), ask):
            is_later = instants(pl.col("archivedAt")) > instants(pl.lit(told["until"]))
            rows = text_frame(listed.things, ()).filter(~is_later.fill_null(False))
            yield rows.select(pl.col("id").alias("deal_id")), _after(after)

    def _deals(self, told: Any, at: Mapping[str, Any]) -> Rows:
        """The deals; the history that came with them is kept until it is asked for."""
        asked, seen, here = _asked(told), at.get("seen", 0), at.get("after")
        for listed, after in self._lists(here, self._deals_list(told)):
            rows, history = deal_rows(listed.things, self._companies(listed.things, asked), asked)
            self._kept.put(here, history, after)
            here, seen = after, seen + len(listed.things)
            if after is None:
                _enough(seen, told["count"])
            yield rows, {"after": after, "seen": seen} if after else None

    def _history(self, told: Any, at: Mapping[str, Any]) -> Rows:
        """The history, from what came with the deals or, in another process, asked for again."""
        here = at.get("after")
        known = {here}
        while True:
            rows, here = self._kept.get(here) or self._history_page(told, here)
            yield rows, _after(here)
            if here is None:
                return
            if here in known:
                raise SourceDown(_CIRCLE)
            known.add(here)

    def _history_page(self, told: Any, here: str | None) -> tuple[pl.DataFrame, str | None]:
        listed, after = next(self._lists(here, self._deals_list(told)))
        return deal_rows(listed.things, {}, _asked(told))[1], after

    def _touched(self, told: Any, at: Mapping[str, Any]) -> Rows:
        lists = self._lists(at.get("after"), partial(self._list(told), properties=["dealstage"]))
        deal_ids: list[str] = []
        for number, (listed, after) in enumerate(lists, 1):
            deal_ids += _to_be_read(listed.things, told)
            if after is None or number % _LISTS_A_TURN == 0:
                yield self._touches_of(deal_ids, told), _after(after)
                deal_ids = []

    def _touches_of(self, deal_ids: Sequence[str], told: Any) -> pl.DataFrame:
        found = [pl.DataFrame(schema=dict.fromkeys(TOUCH, pl.String))]
        for kind in told["kinds"] if deal_ids else ():
            linked = self._api.links("deals", deal_ids, kind)
            ids = {id_ for one in linked.values() for id_ in one}
            touches = self._api.read(kind, ids, properties=KINDS[kind].properties)
            found.append(touch_rows(kind, touches, linked, until=told["until"]))
        return pl.concat(found)

    def _list(self, told: Any) -> Ask:
        """The list of all deals, or of those that the request names."""
        return partial(named, self._api, told["ids"]) if "ids" in told else partial(self._api.listed, "deals")

    def _deals_list(self, told: Any) -> Ask:
        asked = _asked(told)
        links = ["companies"] if asked.of_companies else []
        return partial(self._list(told), properties=asked.properties, with_history=asked.history, links=links)

    def _companies(self, things: Sequence[Thing], asked: Asked) -> dict[str, Thing]:
        """By deal, the company it is with."""
        if not asked.of_companies:
            return {}
        mainly = {thing["id"]: _main_company(thing) for thing in things}
        ids = {id_ for id_ in mainly.values() if id_ is not None}
        found = {one["id"]: one for one in self._api.read("companies", ids, properties=asked.of_companies)}
        return {deal_id: found[id_] for deal_id, id_ in mainly.items() if id_ is not None and id_ in found}

    def _lists(self, here: str | None, ask: Ask) -> Iterator[tuple[Listed, str | None]]:
        """Each page and the cursor after it. Raises PlaceLost when HubSpot does not know the first one."""
        began, known = here, {here}
        while True:
            try:
                listed = ask(after=here)
            except Declined as error:
                if error.status != 400 or here is None or here != began:
                    raise
                raise PlaceLost("HubSpot does not know the cursor any more") from None
            if listed.after is not None and listed.after in known:
                raise SourceDown(_CIRCLE)
            yield listed, listed.after
            here = listed.after
            if here is None:
                return
            known.add(here)


def open_hubspot(name: str, settings: Settings) -> HubSpotReader:
    """The source of that name; SettingsError when it has no key."""
    source = settings.sources[name]
    if not isinstance(source, Source):
        raise TypeError(f"the source {name} is no HubSpot")
    client = client_of(name, source, source.connection, source.access)
    api = HubSpot(client, version=source.version)
    return HubSpotReader(api, mapping=source.deals, touches=source.touches, overlap=source.overlap)


def _asked(told: Any) -> Asked:
    lists = {name: tuple(value) for name, value in told["asked"].items() if isinstance(value, list)}
    return Asked(**{**told["asked"], **lists})


def _after(after: str | None) -> dict[str, Any] | None:
    return {"after": after} if after else None


def _enough(seen: int, count: int) -> None:
    """Raises SourceDown when a list ends far from where the index says that it should."""
    if count - seen > max(_FEW, _SHARE * count):
        raise SourceDown(f"HubSpot listed {seen:,} deals of about {count:,}; the list broke off")


def _to_be_read(things: Sequence[Thing], told: Any) -> list[str]:
    """Deals whose touches may be news: open ones, and those that changed since."""
    rows = text_frame(things, ["dealstage"]).with_columns(
        word=pl.col("dealstage").replace_strict(told["stages"], default="open", return_dtype=pl.String)
    )
    is_later = instants(pl.col("createdAt")) > instants(pl.lit(told["until"]))
    is_open = ~pl.col("word").is_in(["won", "lost"]).fill_null(False)
    if told["since"] is not None:
        is_changed = instants(pl.col("updatedAt")) >= instants(pl.lit(told["since"]))
        rows = rows.filter(is_open | is_changed.fill_null(True))
    return rows.filter(~is_later.fill_null(False))["id"].to_list()


def _owner_rows(things: Sequence[Thing]) -> pl.DataFrame:
    told = [
        (
            thing["id"],
            " ".join(part for part in (thing.get("firstName"), thing.get("lastName")) if part) or None,
            thing.get("email") or None,
            str(not thing.get("archived", False)).lower(),
        )
        for thing in things
    ]
    return pl.DataFrame(told, schema=dict.fromkeys(OWNER, pl.String), orient="row")


def _main_company(thing: Thing) -> str | None:
    """The primary company; without one, that with the lowest id, so that it is the same every night."""
    told = ((thing.get("associations") or {}).get("companies") or {}).get("results") or []
    primary = [str(one["id"]) for one in told if one.get("type") == "deal_to_company"]
    every = primary or [str(one["id"]) for one in told]
    return min(every, key=lambda id_: (len(id_), id_), default=None)
