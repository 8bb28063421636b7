"""Carries a morning's scores into the CRM's own fields: only the newest morning's, only what changed.

The same judgement as for alerts: a backfill writes nothing, and data that is not fit to alert on is not fit
to be shown in the CRM either. A dry run asks the CRM which fields it has, and sends it nothing.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

import polars as pl
from sqlalchemy import Connection, Engine, select

from dealwatch.alerts.episodes.holdout import is_drawn
from dealwatch.alerts.rules.rule import load_rules
from dealwatch.alerts.speaking.occasions import is_silent
from dealwatch.alerts.write_back.memory import due, remember
from dealwatch.alerts.write_back.wanted import rows_of, tellers, wanted
from dealwatch.crm.writers import WRITERS, Opener
from dealwatch.crm.writing import Target, Verdict, Writer
from dealwatch.errors import ExtractRefused, NotReady, SettingsError, SourceDown
from dealwatch.history.freshness import incident
from dealwatch.moments import local_day, newest_business_morning
from dealwatch.scoring.bands import BANDS
from dealwatch.settings import Settings
from dealwatch.sources import WritableSource
from dealwatch.tables import deal_scores, deals, scored_mornings
from dealwatch.warehouse import frame, reading, writing
from dealwatch.written_fields import WriteBack

log = logging.getLogger(__name__)

COUNTS = ("deals", "held_out", "unchanged", "would_write", "written", "refused", "busy", "gone", "failed")
_MANY = 20  # so many at once are no matter of single deals


def takers(settings: Settings) -> list[str]:
    """The sources whose fields take our scores."""
    return [name for name, source in settings.sources.items() if _write_back(source) is not None]


def _write_back(source: object) -> WriteBack | None:
    return source.write_back if isinstance(source, WritableSource) else None


def write_back(
    engine: Engine,
    name: str,
    *,
    settings: Settings,
    as_of: datetime,
    now: datetime,
    dry: bool = False,
    writers: Mapping[str, Opener] = WRITERS,
) -> dict[str, int]:
    """Tell one source's fields the morning's scores; COUNTS, all 0 when the morning is not to be told.

    `dry` writes nothing, whatever the settings say. `writers` open sources by kind. Raises NotReady for a
    morning that is not scored, SettingsError for fields that do not fit, ExtractRefused when the CRM refuses
    the whole, and SourceDown when it stops on the way: what it took until then is remembered, and the next
    run goes on.
    """
    source = settings.sources.get(name)
    wish = _write_back(source)
    if source is None or wish is None:
        raise SettingsError(f"[sources.{name}.write_back] names no field, so there is nothing to write")
    counts = dict.fromkeys(COUNTS, 0)
    with reading(engine) as connection:
        silence = _silence(connection, settings=settings, as_of=as_of, now=now)
        scores = pl.DataFrame() if silence else _scores(connection, name, as_of)
    if silence:
        log.warning("%s: nothing is written back for %s: %s", name, as_of.isoformat(), silence)
        return counts
    held_out = _held_out(scores, settings)
    telling = tellers(load_rules(settings.alerts.rules))
    with writers[source.kind](name, settings) as writer:
        targets = writer.targets(wish.fields, BANDS)
        told = scores.filter(~held_out)
        wishes = wanted(told, wish.fields, place=writer.place, telling=telling)
        with reading(engine) as connection:
            open_ = due(connection, name, wishes, as_of=as_of)
        counts |= {"deals": scores.height, "held_out": int(held_out.sum())}
        counts["unchanged"] = wishes.height - open_.height
        if dry or wish.dry:
            _tell_dry(name, open_, wish)
            return counts | {"would_write": open_.height}
        carrying = Carrying(engine, name, writer, targets, settings, as_of, now)
        return counts | carrying.carry(open_)


def _silence(connection: Connection, *, settings: Settings, as_of: datetime, now: datetime) -> str:
    """Why nothing is written, in words; empty when the morning is the one to show."""
    if as_of != newest_business_morning(now, settings):
        return "it is not the newest business morning"
    if connection.execute(select(scored_mornings).where(scored_mornings.c.as_of == as_of)).first() is None:
        raise NotReady(f"{as_of.isoformat()} is not scored; run `score --as-of {local_day(as_of, settings)}`")
    fault = incident(connection, as_of, settings=settings)
    if fault is not None:
        return f"{fault.sentence} {fault.remedy}"
    if is_silent(connection, as_of, settings=settings):
        return "its alerts were held, for the data was not fit when it was scored"
    return ""


def _scores(connection: Connection, source: str, as_of: datetime) -> pl.DataFrame:
    """The scores of the source's open deals; a deal that closed meanwhile keeps what its fields hold."""
    c = deal_scores.c
    query = (
        select(c.deal_id, c.score, c.band, c.reasons, c.points)
        .join(deals, deals.c.deal_id == c.deal_id)
        .where(c.as_of == as_of, deals.c.source == source)
        .where(deals.c.outcome.is_(None), deals.c.is_deleted.is_(False))
    )
    return frame(connection, query)


def _held_out(scores: pl.DataFrame, settings: Settings) -> pl.Series:
    """Deals drawn to get no alerts: a score in the CRM tells their owners as well."""
    share = settings.alerts.holdout_share
    drawn = [share > 0 and is_drawn(deal_id, share, settings) for deal_id in scores["deal_id"]]
    return pl.Series(drawn, dtype=pl.Boolean)


def _tell_dry(name: str, open_: pl.DataFrame, wish: WriteBack) -> None:
    """Counts only: names of deals are the CRM's."""
    bands = Counter(open_["band"].to_list())
    told = ", ".join(f"{band} {bands[band]:,}" for band in BANDS)
    fields = ", ".join(wish.fields.values())
    log.info("%s: %s deals would be written (%s) into %s", name, f"{open_.height:,}", told, fields)
    if wish.dry:
        log.info("%s: this was a dry run; [sources.%s.write_back] dry = false lets it write", name, name)


class Carrying:
    """One run: wishes in batches to the CRM, its answers into the memory."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        writer: Writer,
        targets: Mapping[str, Target],
        settings: Settings,
        as_of: datetime,
        now: datetime,
    ) -> None:
        self.engine, self.name, self.writer, self.targets = engine, name, writer, targets
        self.day, self.as_of, self.now = local_day(as_of, settings), as_of, now
        self.states: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()

    def carry(self, wishes: pl.DataFrame) -> dict[str, int]:
        """Send all that is due; how many rows came to each state."""
        done = 0
        for batch in wishes.iter_slices(self.writer.most):
            try:
                verdicts = self.writer.write(rows_of(batch, self.targets, day=self.day))
            except SourceDown as error:
                left = wishes.height - done
                told = f"{error}. {self.states['written']:,} deals were written, {left:,} are left"
                raise SourceDown(f"{told} for the next run", after=error.after) from None
            self._remember(batch, verdicts)
            done += batch.height
            self._give_up_if_all_fail()
        self._say_what_failed()
        return dict(self.states)

    def _remember(self, batch: pl.DataFrame, verdicts: Sequence[Verdict]) -> None:
        with writing(self.engine) as connection:
            remember(connection, self.name, batch, verdicts, as_of=self.as_of, now=self.now)
        self.states.update(verdict.state for verdict in verdicts)
        self.codes.update(f"{one.state} {one.code}" for one in verdicts if one.state != "written")

    def _give_up_if_all_fail(self) -> None:
        if not self.states["written"] and self.states["failed"] >= _MANY:
            raise ExtractRefused(
                f"{self.name}: the CRM takes no deal of {self.states.total():,} ({self._told()}); let our "
                "user edit deals, or mend the automation that runs when one is saved"
            )

    def _say_what_failed(self) -> None:
        if self.codes:
            log.warning("%s: not all was written: %s; see the table written_back", self.name, self._told())

    def _told(self) -> str:
        return ", ".join(f"{code} {n:,}" for code, n in self.codes.most_common())
