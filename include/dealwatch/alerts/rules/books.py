"""Rule books: the rules and settings that decided who was told what, kept whenever they changed.

`plan` compares the working tree with the newest one, and `why` explains a morning by the one in force then.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, SecretStr
from sqlalchemy import Connection, and_, delete, select

from dealwatch.alerts.fingerprints import digest
from dealwatch.alerts.rules.rule import Rule, load_rules
from dealwatch.errors import SettingsError
from dealwatch.settings import Settings
from dealwatch.tables import rule_books
from dealwatch.warehouse import as_json, put, rows_of, schema_of

# What says where things are or how they travel, not who is told what.
_NOT_DECIDING = frozenset({"alerts.rules", "delivery.sender"})


@dataclass(frozen=True)
class RuleBook:
    """The text of each rule file by the rule's name, and the deciding settings by their dotted names."""

    rules: Mapping[str, str]
    settings: Mapping[str, Any]
    in_force_from: datetime | None = None  # none: it is the working tree's

    @property
    def digest(self) -> str:
        return digest(as_json(dict(self.rules)), as_json(dict(self.settings)))

    def settled(self, settings: Settings) -> Settings:
        """The settings as this book has them; what it does not hold stays, such as secrets and folders.

        A knob that exists no more is passed over.
        """
        scoring = settings.scoring.model_copy(update={"bands": tuple(self.settings["scoring.bands"])})
        sections: dict[str, BaseModel] = {
            name: _restored(getattr(settings, name), name, self.settings)
            for name in ("alerts", "delivery", "pipeline")
        }
        return settings.model_copy(update={**sections, "scoring": scoring})

    def load(self, folder: Path) -> tuple[Rule, ...]:
        """The rules, read from their texts written into an empty folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, text in self.rules.items():
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        try:
            return load_rules(folder)
        except SettingsError as error:
            raise SettingsError(
                f"the rules in force since {self.in_force_from} cannot be read by this version: {error}"
            ) from error


def book_of(settings: Settings) -> RuleBook:
    """The rules and settings of the working tree."""
    rules = {
        path.stem: path.read_text(encoding="utf-8") for path in sorted(settings.alerts.rules.glob("*.toml"))
    }
    deciding: dict[str, Any] = {"scoring.bands": list(settings.scoring.bands)}
    for name in ("alerts", "delivery", "pipeline"):
        deciding |= _deciding(getattr(settings, name), name)
    return RuleBook(rules, deciding)


def record(connection: Connection, as_of: datetime, *, settings: Settings) -> None:
    """Keep the book that a live morning is decided by, if it differs from the one before."""
    book = book_of(settings)
    before = _newest(connection, rule_books.c.in_force_from < as_of)
    is_todays = rule_books.c.in_force_from == as_of
    connection.execute(delete(rule_books).where(and_(is_todays, rule_books.c.digest != book.digest)))
    if before is not None and before.digest == book.digest:
        connection.execute(delete(rule_books).where(is_todays))
        return
    row = {
        "digest": book.digest,
        "in_force_from": as_of,
        "rules": as_json(dict(book.rules)),
        "settings": as_json(dict(book.settings)),
    }
    put(connection, rule_books, pl.DataFrame([row], schema=schema_of(rule_books)))


def in_force(connection: Connection, as_of: datetime | None = None) -> RuleBook | None:
    """The newest book, or the one that was in force on a morning; none when no live morning kept one."""
    return _newest(connection, rule_books.c.in_force_from <= as_of if as_of else None)


def _newest(connection: Connection, where: Any) -> RuleBook | None:
    query = select(rule_books).order_by(rule_books.c.in_force_from.desc(), rule_books.c.digest).limit(1)
    rows = rows_of(connection, query if where is None else query.where(where))
    return RuleBook(rows[0].rules, rows[0].settings, rows[0].in_force_from) if rows else None


def _deciding(section: BaseModel, prefix: str) -> dict[str, Any]:
    """The section's knobs that decide, as JSON values: no secret, no folder, no address with a scheme."""
    secret = {name for name in type(section).model_fields if isinstance(getattr(section, name), SecretStr)}
    values = json.loads(section.model_dump_json(exclude=secret))
    return {
        f"{prefix}.{name}": value
        for name, value in values.items()
        if f"{prefix}.{name}" not in _NOT_DECIDING and not _may_hold_secret(name, value)
    }


def _may_hold_secret(name: str, value: Any) -> bool:
    return "url" in name or "://" in json.dumps(value) or name.startswith("plan_")


def _restored(section: BaseModel, prefix: str, kept: Mapping[str, Any]) -> BaseModel:
    fields = type(section).model_fields
    told = {name: kept[key] for name in fields if (key := f"{prefix}.{name}") in kept}
    checked = type(section).model_validate({**section.model_dump(), **told})
    return section.model_copy(update={name: getattr(checked, name) for name in told})
