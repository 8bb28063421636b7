"""Visit file drops: is the folder there, which files, written how, and what are their columns to us.

Headers and a sample of each file are looked at here; what is said of the sample is counts by column.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from dealwatch.crm.checks import check
from dealwatch.crm.connecting import Notes, Stage, Visit, absent, check_stages, guessed_stages
from dealwatch.crm.contract import DATES, NUMBERS, OBJECTS, REQUIRED, Object
from dealwatch.crm.drops import day_of
from dealwatch.crm.faults import Reading
from dealwatch.crm.files import find_file
from dealwatch.crm.guessing import LIKELY, guesses
from dealwatch.crm.mapping import mapper_of
from dealwatch.crm.object_store import called, fetch, look
from dealwatch.crm.sampling import Sample, date_format_of, sample_of, share, written
from dealwatch.crm.values import plain_numbers
from dealwatch.errors import DealwatchError, ExtractRefused, SourceDown
from dealwatch.knobs import FileMapping, Source
from dealwatch.settings import Settings

_MOST_STAGES = 60
_MOST_BYTES = 200 * 2**20
_INSTANTS = ("created_at", "closed_at", *DATES)


def visit_files(name: str, settings: Settings, *, now: datetime) -> Visit:
    """What we find where the drops of that source lie."""
    source, notes = settings.sources[name], Notes()
    assert isinstance(source, Source)
    try:
        with _folder(notes, name, source, now) as folder:
            if folder is not None:
                return _Drop(notes, name, settings, source, folder, now).visit()
    except (DealwatchError, SourceDown) as error:
        notes.refused("files", error)
    return Visit(tuple(notes.findings))


@contextmanager
def _folder(notes: Notes, name: str, source: Source, now: datetime) -> Iterator[Path | None]:
    """The newest drop in a folder here."""
    if not source.url:
        if not source.path.is_dir():
            notes.missing("files", f"{source.path}: no such folder", f"Correct [sources.{name}] path.")
            yield None
            return
        days = sorted(one for one in source.path.iterdir() if one.is_dir() and day_of(one.name))
        notes.ok("files", f"{source.path} is there" + (f", with {len(days)} folders of days" if days else ""))
        yield days[-1] if days else source.path
        return
    found = look(name, source, now=now)
    ready = [one for one in found if not one.not_yet]
    if not ready:
        why = found[-1].not_yet if found else f"neither {source.deals.file} nor a folder named by day"
        notes.missing(
            "files", f"{called(source)}: no drop to be read ({why})", "Deliver one, or correct url."
        )
        yield None
        return
    notes.ok("files", f"{called(source)}: {len(found)} drops, {len(ready)} of them ready")
    with TemporaryDirectory(prefix="dealwatch-") as folder:
        for file in ready[-1].files:
            if file.size <= _MOST_BYTES:
                fetch(file, Path(folder) / file.name, source)
            else:
                notes.warn("files", f"{file.path} is too large to be copied for a look")
        yield Path(folder)


class _Drop:
    def __init__(
        self, notes: Notes, name: str, settings: Settings, source: Source, folder: Path, now: datetime
    ) -> None:
        self.notes, self.name, self.settings, self.source = notes, name, settings, source
        self.folder, self.now = folder, now

    def visit(self) -> Visit:
        path = find_file(self.folder, self.source.deals.file) or self._other_file()
        if path is None:
            return Visit(tuple(self.notes.findings))
        sample = self._sample("deals", path, self.source.deals)
        extra: dict[str, Any] = {"file": sample.path.name} | written(sample, self.source.deals)
        fields = sample.fields()
        found = {ours: guess.field for ours, guess in guesses("deals", fields).items()}
        ours = {**found, **{o: t for o, t in self.source.deals.columns.items() if t in sample.header}}
        extra |= self._formats(sample, ours)
        self._mapping("deals", sample)
        others: dict[str, dict[str, Any]] = {
            object_: told for object_ in OBJECTS if object_ != "deals" and (told := self._beside(object_))
        }
        stages = self._stages(sample, ours)
        return Visit(
            tuple(self.notes.findings),
            tuple(fields),
            absent=frozenset(self.notes.absent),
            stages=stages,
            ordered=False,
            extra=extra,
            others=others,
            by_header=True,
        )

    def _other_file(self) -> Path | None:
        there = sorted(one for one in self.folder.iterdir() if one.name.endswith((".csv", ".csv.gz")))
        says = f"{self.source.deals.file} is not there"
        names = ", ".join(one.name for one in there[:10]) or "no CSV file"
        best = max(there, key=lambda one: self._fit("deals", one), default=None)
        if best is None or not self._fit("deals", best):
            self.notes.missing("files", f"{says}; there is {names}", "Deliver it.")
            return None
        remedy = f'Write file = "{best.name}" in [sources.{self.name}.deals]; it looks like the deals.'
        self.notes.missing("files", f"{says}; there is {names}", remedy)
        return best

    def _fit(self, object_: Object, path: Path) -> float:
        try:
            fields = sample_of(path, FileMapping(file=path.name)).fields()
        except ExtractRefused:
            return 0.0
        found = guesses(object_, fields)
        needed = [found.get(name) for name in REQUIRED[object_]]
        if any(one is None or one.sure < LIKELY for one in needed):
            return 0.0
        return sum(one.sure for one in found.values())

    def _sample(self, object_: Object, path: Path, mapping: FileMapping) -> Sample:
        sample = sample_of(path, mapping)
        for key, value in written(sample, mapping).items():
            self.notes.missing(
                "files",
                f"{path.name} is written otherwise than the settings say",
                f"Write {key} = {value!r} in [sources.{self.name}.{object_}].".replace("'", '"'),
            )
        count = f"{sample.records.height:,}" if sample.is_whole else f"more than {sample.records.height:,}"
        self.notes.ok("files", f"{path.name}: {len(sample.header)} columns, {count} rows")
        if sample.misfits:
            says = f"{sample.misfits:,} records of {path.name} do not fit its header"
            self.notes.warn("files", says, "Quote values that hold the delimiter or line breaks.")
        return sample

    def _formats(self, sample: Sample, ours: dict[str, str]) -> dict[str, str]:
        """How dates and amounts are written where it is not as usual."""
        found: dict[str, str] = {}
        own, where = self.source.deals, f"[sources.{self.name}.deals]"
        dates = [sample.column(ours[name]) for name in _INSTANTS if name in ours]
        format_ = date_format_of(dates)
        if format_ and own.date_format is None:
            found["date_format"] = format_
            self.notes.warn("mapping", "dates are not ISO", f'Write date_format = "{format_}" in {where}.')
        for amounts in (sample.column(ours[name]) for name in NUMBERS if name in ours):
            with_comma = share(amounts, plain_numbers(pl.col("v"), decimal=","))
            if own.decimal == "." and with_comma > share(amounts, plain_numbers(pl.col("v"))):
                found["decimal"] = ","
                self.notes.warn("mapping", "amounts have a decimal comma", f'Write decimal = "," in {where}.')
        return found

    def _mapping(self, object_: Object, sample: Sample) -> bool:
        """Hold the settings' mapping against the header, and the sample against the contract."""
        own: FileMapping = getattr(self.source, object_)
        where = f"sources.{self.name}.{object_}"
        lacking = [(o, t) for o, t in own.columns.items() if t not in sample.header]
        for ours, theirs in lacking:
            absent(self.notes, ours, theirs, sample.header, where=where)
        if lacking or written(sample, own):
            return False
        try:
            mapper = mapper_of(object_, own, path=sample.path, header=sample.header, where=where)
        except ExtractRefused as error:
            # The key of a join is a value of a row.
            self.notes.missing("mapping", re.sub(r"the key '.*', so", "a key, so", str(error)))
            return False
        reading = Reading(
            own, self.source.deals, self.settings.pipeline, self.settings.time_zone, self.now, where
        )
        judged = check(object_, mapper(sample.records), reading)
        faulty = judged.filter(pl.col("=reason").is_not_null())["=field"].value_counts(sort=True)
        told = ", ".join(f"{field} {count:,}" for field, count in faulty.iter_rows())
        if told and faulty["count"].sum() == judged.height and object_ == "deals":
            self.notes.missing("mapping", f"no row of {sample.path.name} can be used: {told}", _LOOK)
        elif told:
            self.notes.warn(
                "mapping", f"{sample.path.name}: rows that cannot be used, by column: {told}", _LOOK
            )
        else:
            self.notes.ok("mapping", f"{sample.path.name} fits")
        return True

    def _beside(self, object_: Object) -> dict[str, Any]:
        """What another object's file is like; a draft of its mapping where the settings' does not fit."""
        own: FileMapping | None = getattr(self.source, object_)
        if own is None:
            return {}
        path = find_file(self.folder, own.file)
        if path is None:
            if object_ == "deal_history":
                self.notes.warn(
                    "history", _NO_HISTORY.format(file=own.file), "Deliver one, if the CRM has it."
                )
            return {}
        sample = self._sample(object_, path, own)
        header = set(sample.header)
        if own.columns or header >= {*REQUIRED[object_]}:
            self._mapping(object_, sample)
            return {}
        found = guesses(object_, sample.fields())
        lacking = [name for name in REQUIRED[object_] if name not in found]
        says = f"{path.name} lacks {', '.join(sorted({*REQUIRED[object_]} - header))}"
        remedy = f"Nothing looks like {', '.join(lacking)}." if lacking else "Take over the draft below."
        self.notes.missing("mapping", says, remedy)
        columns = {ours: guess.field for ours, guess in found.items() if ours != guess.field}
        return {} if lacking else {"file": own.file, "columns": columns} | written(sample, own)

    def _stages(self, sample: Sample, ours: dict[str, str]) -> tuple[Stage, ...]:
        column = ours.get("stage")
        if column is None:
            return ()
        stage = pl.col(f"={column}").str.strip_chars()
        ends = (
            pl.col(f"={ours['outcome']}").str.to_lowercase() if "outcome" in ours else pl.lit(None, pl.String)
        )
        rows = sample.records.select(stage.alias("stage"), ends.alias("end")).filter(pl.col("stage") != "")
        if rows["stage"].n_unique() > _MOST_STAGES:
            says = f"{column} has more than {_MOST_STAGES} words, too many for stages"
            self.notes.warn("stages", says, "Is it the right column?")
            return ()
        ended = pl.col("end").filter(pl.col("end").is_in(["won", "lost"])).drop_nulls().first()
        told = dict(rows.group_by("stage").agg(ended).iter_rows())
        stages = guessed_stages(told, self.source.deals.values.get("stage", {}), is_told=False)
        check_stages(self.notes, stages, self.settings, tells="in the file, in no order")
        return stages


_LOOK = "`quarantine` tells each after an extract; a date format, a decimal mark or a stage is likely."
_NO_HISTORY = (
    "{file} is not there: changes come from comparing one drop with the next, and nothing can be looked "
    "back on"
)
