"""Between mornings: read the deals that events named, and score them at once as of that minute.

Their scores lie in a table of their own, `event_scores`. No signal is kept, no alert opens or moves and
nothing is sent: that is the next morning's, which judges by what is known then as if nobody had looked.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime

import polars as pl
from sqlalchemy import Engine

from dealwatch.alerts.rules.rule import Rule, load_rules, rule_points
from dealwatch.crm.readers import NAMED_READERS, NamedOpener
from dealwatch.errors import ExtractRefused, SettingsError, SourceDown
from dealwatch.history.named import read_named
from dealwatch.history.stored import StoredLedger
from dealwatch.history.waiting import mark_scored, sources_with_events, to_score
from dealwatch.scoring.facts import facts_in_parts
from dealwatch.scoring.known import microseconds_of, past_of, told_of
from dealwatch.scoring.registry import champions_at
from dealwatch.scoring.score import score
from dealwatch.settings import Settings
from dealwatch.sources import LiveSource, tells_events
from dealwatch.tables import event_scores
from dealwatch.warehouse import put, reading, writing

log = logging.getLogger(__name__)


def take_events(
    engine: Engine, *, settings: Settings, now: datetime, readers: Mapping[str, NamedOpener] = NAMED_READERS
) -> dict[str, int]:
    """Read what waiting events are about and score it; counts of deals read, changes, deals scored, waits.

    waits: the sources whose events wait because the CRM is down, its quota is used or it cannot be read; the
    daily extract says so aloud, and the next call goes on. Nothing is asked of anybody when nothing waits.
    """
    counts = dict.fromkeys(("read", "changes", "scored", "waits"), 0)
    with reading(engine) as connection:
        names = sources_with_events(connection)
    rules = load_rules(settings.alerts.rules) if names else []
    for name in names:
        source = settings.sources.get(name)
        if isinstance(source, LiveSource) and tells_events(source):
            try:
                with closing(readers[source.kind](name, settings)) as reader:
                    found = read_named(engine, name, source, reader, settings=settings, now=now)
            except (ExtractRefused, SettingsError, SourceDown) as error:
                log.warning("%s: its events wait: %s", name, error)
                found = {"waits": 1}
            for key, number in found.items():
                counts[key] += number
        counts["scored"] += _score_read(engine, name, rules, settings=settings)
    return counts


def _score_read(engine: Engine, name: str, rules: Sequence[Rule], *, settings: Settings) -> int:
    """Score the deals of each read, as of the moment it speaks for; how many are open and have a score."""
    with reading(engine) as connection:
        reads = to_score(connection, name)
    scored = 0
    for (extract_id, as_of), deal_ids in reads.items():
        scores = scores_of(engine, as_of, deal_ids, rules=rules, settings=settings)
        with writing(engine) as connection:
            scored += put(connection, event_scores, scores)
            mark_scored(connection, extract_id)
    return scored


def scores_of(
    engine: Engine, as_of: datetime, deal_ids: Sequence[str], *, rules: Sequence[Rule], settings: Settings
) -> pl.DataFrame:
    """What a morning at this moment would say of these deals, if they are open: rows of `event_scores`."""
    asked = microseconds_of([as_of])
    with reading(engine) as connection:
        (served,) = champions_at(connection, settings, [as_of])
        ledger = StoredLedger(connection, as_of)
        past = past_of(ledger, asked, pipeline=settings.pipeline)
        wanted = past.deal_ids.is_in(pl.Series(deal_ids, dtype=pl.String).implode()).to_numpy()
        marked = wanted & past.open_at(asked)
        if not marked.any():
            return pl.DataFrame()
        history = told_of(ledger, past, marked)
    facts = pl.concat(facts_in_parts(history, [as_of], settings=settings, only=marked))
    return score(facts, served.model, rule_points(rules, facts), settings=settings)
