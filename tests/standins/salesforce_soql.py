"""SOQL as far as we may ask it: parsed strictly, with Salesforce's own errors, and answered from frames."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from standins.salesforce_org import Field, Org

TOKEN = re.compile(
    r"\s*(?:(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<string>'(?:[^'\\]|\\['\"\\nrtbf%_])*')"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_.]*)|(?P<sign><=|>=|!=|<>|=|<|>|\(|\)|,))"
)
UNESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
COMPOUND = {"address", "location"}


class Wrong(Exception):
    """The query cannot be answered: Salesforce's error code, and words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}")
        self.code, self.words = code, words


@dataclass
class Query:
    """`frame` holds the columns asked for by their names as asked; count() has no columns but a number."""

    object: str
    fields: dict[str, Field]
    frame: pl.DataFrame
    is_count: bool = False


def answer(org: Org, text: str, *, deleted: bool, bulk: bool = False) -> Query:
    """The rows of a query; raises Wrong."""
    return _Parser(org, text, deleted, bulk).query()


class _Parser:
    def __init__(self, org: Org, text: str, deleted: bool, bulk: bool) -> None:
        self.org, self.deleted, self.bulk = org, deleted, bulk
        self.tokens: list[tuple[str, str]] = []
        self.semi_joins = 0
        at = 0
        text = text.rstrip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise Wrong("MALFORMED_QUERY", f"unexpected token at {at}")
            self.tokens.append((found.lastgroup, found.group(found.lastgroup)))
            at = found.end()

    def peek(self) -> str:
        return self.tokens[0][1].upper() if self.tokens else ""

    def take(self, *wanted: str, kind: str | None = None) -> str:
        if not self.tokens or (wanted and self.peek() not in wanted) or (kind and self.tokens[0][0] != kind):
            raise Wrong("MALFORMED_QUERY", f"unexpected token: '{self.peek() or '<EOF>'}'")
        return self.tokens.pop(0)[1]

    def query(self, *, inner: bool = False, outer: str = "") -> Query:
        self.take("SELECT")
        is_count = self.peek() == "COUNT"
        names = [self.take(kind="word")]
        if is_count:
            self.take("(")
            self.take(")")
        while self.peek() == ",":
            self.take(",")
            names.append(self.take(kind="word"))
        self.take("FROM")
        told = self.take(kind="word")
        object_ = self.org.object_named(told)
        if object_ is None:
            raise Wrong("INVALID_TYPE", f"sObject type '{told}' is not supported.")
        if is_count and (self.bulk or inner):
            raise Wrong("MALFORMED_QUERY", "aggregates are not supported here")
        if inner and object_ == outer:
            raise Wrong(
                "MALFORMED_QUERY", "The inner and outer selects should not be on the same object type"
            )
        frame = self.org.rows(object_)
        if "IsDeleted" in frame.columns and not self.deleted:
            frame = frame.filter(~pl.col("IsDeleted"))
        if "IsArchived" in frame.columns and not self.deleted:
            frame = frame.filter(~pl.col("IsArchived").fill_null(False))
        scope = _Scope(self.org, object_, frame)
        if self.peek() == "WHERE":
            self.take("WHERE")
            condition = self.either(scope)
            scope.frame = scope.frame.filter(condition.fill_null(False))
        if not inner:
            self.order_and_limit(scope)
            if self.tokens:
                raise Wrong("MALFORMED_QUERY", f"unexpected token: '{self.peek()}'")
        fields = {} if is_count else {name: scope.field(name) for name in names}
        if len({name.lower() for name in fields}) < len(names) and not is_count:
            raise Wrong("INVALID_FIELD", "duplicate field selected")
        for name, field in fields.items():
            if self.bulk and field.type in COMPOUND:
                raise Wrong(
                    "FEATURENOTENABLED", f"Selecting compound data not supported in Bulk Query: {name}"
                )
        columns = [pl.col(scope.column(name)).alias(name) for name in fields]
        frame = scope.frame.select("Id") if is_count else scope.frame.select(columns)
        return Query(object_, fields, frame, is_count)

    def order_and_limit(self, scope: "_Scope") -> None:
        if self.peek() == "ORDER":
            self.take("ORDER")
            self.take("BY")
            name = self.take(kind="word")
            scope.field(name)
            down = self.peek() in {"ASC", "DESC"} and self.take().upper() == "DESC"
            scope.frame = scope.frame.sort(scope.column(name), descending=down, nulls_last=down)
        if self.peek() == "LIMIT":
            self.take("LIMIT")
            scope.frame = scope.frame.head(int(self.take(kind="number")))

    def either(self, scope: "_Scope") -> pl.Expr:
        """Conditions joined by one word: AND and OR do not mix without parentheses."""
        before = self.semi_joins
        joined, condition = "", self.one(scope)
        while self.peek() in {"AND", "OR"}:
            word = self.take().upper()
            if joined and word != joined:
                raise Wrong("MALFORMED_QUERY", f"unexpected token: '{word}'")
            joined = word
            other = self.one(scope)
            condition = condition & other if word == "AND" else condition | other
        if joined == "OR" and self.semi_joins > before:
            raise Wrong("MALFORMED_QUERY", "Semi join sub-selects are not allowed with the 'OR' operator")
        return condition

    def one(self, scope: "_Scope") -> pl.Expr:
        if self.peek() == "(":
            self.take("(")
            condition = self.either(scope)
            self.take(")")
            return condition
        if self.peek() == "NOT":
            self.take("NOT")
            return ~self.one(scope).fill_null(False)
        name = self.take(kind="word")
        field, column = scope.field(name), pl.col(scope.column(name))
        if self.peek() in {"IN", "NOT"}:
            is_not = self.peek() == "NOT" and bool(self.take("NOT"))
            self.take("IN")
            among = self.among(scope, field, name)
            told = _folded(column, field).is_in(among.implode())
            return ~told.fill_null(False) if is_not else told
        sign = self.take("=", "!=", "<>", "<", ">", "<=", ">=", kind="sign")
        return _compared(column, field, sign, self.value(field, name))

    def among(self, scope: "_Scope", field: Field, name: str) -> pl.Series:
        self.take("(")
        if self.peek() == "SELECT":
            self.semi_joins += 1
            if field.type not in {"id", "reference"} or self.semi_joins > 2:
                raise Wrong(
                    "MALFORMED_QUERY", "a semi join needs an Id or a reference, and there are two at most"
                )
            inner = self.query(inner=True, outer=scope.object)
            chosen = list(inner.fields.values())
            if len(chosen) != 1 or chosen[0].type not in {"id", "reference"}:
                raise Wrong("MALFORMED_QUERY", "a semi join selects one Id or reference")
            found = inner.frame.to_series().drop_nulls().str.to_lowercase()
        else:
            values = [self.value(field, name)]
            while self.peek() == ",":
                self.take(",")
                values.append(self.value(field, name))
            told = [value.lower() if isinstance(value, str) else value for value in values]
            found = pl.Series(told, dtype=field.dtype)
        self.take(")")
        return found

    def value(self, field: Field, name: str) -> Any:
        """The literal, of the kind that the field needs."""
        kind, text = self.tokens[0] if self.tokens else ("", "")
        self.take()
        if kind == "word" and text.upper() == "NULL":
            return None
        wanted = {
            "boolean": "word", "currency": "number", "double": "number", "percent": "number", "int": "number",
            "date": "date", "datetime": "instant",
        }.get(field.type, "string")  # fmt: skip
        if kind != wanted or (kind == "word" and text.upper() not in {"TRUE", "FALSE"}):
            raise Wrong(
                "INVALID_FIELD", f"value of filter criterion for field '{name}' must be of type {field.type}"
            )
        match kind:
            case "word":
                return text.upper() == "TRUE"
            case "number":
                return float(text)
            case "date":
                return date.fromisoformat(text)
            case "instant":
                return datetime.fromisoformat(text)
        return re.sub(r"\\(.)", lambda m: UNESCAPED.get(m[1], m[1]), text[1:-1])


class _Scope:
    """The rows of one object, to which parents are joined as they are named."""

    def __init__(self, org: Org, object_: str, frame: pl.DataFrame) -> None:
        self.org, self.object, self.frame = org, object_, frame

    def field(self, name: str) -> Field:
        parent, _, own = name.rpartition(".")
        object_ = self.object
        if parent:
            by = [
                one for one in self.org.fields(object_).values() if one.relationship.lower() == parent.lower()
            ]
            if not by or self.org.object_named(by[0].to) is None:
                raise Wrong("INVALID_FIELD", f"Didn't understand relationship '{parent}' in field path.")
            object_ = by[0].to
        found = self.org.fields(object_).get(own.lower())
        if found is None:
            raise Wrong("INVALID_FIELD", f"No such column '{own}' on entity '{object_}'.")
        if parent and name.lower() not in {column.lower() for column in self.frame.columns}:
            held = self.org.rows(object_).select(
                pl.col("Id").alias("="), pl.col(found.name).alias(name.lower())
            )
            self.frame = self.frame.join(held, left_on=by[0].name, right_on="=", how="left")
        return found

    def column(self, name: str) -> str:
        return name.lower() if "." in name else self.field(name).name


def _folded(column: pl.Expr, field: Field) -> pl.Expr:
    return column.str.to_lowercase() if field.dtype == pl.String else column


def _compared(column: pl.Expr, field: Field, sign: str, value: Any) -> pl.Expr:
    if value is None:
        if sign == "=":
            return column.is_null()
        if sign in {"!=", "<>"}:
            return column.is_not_null()
        raise Wrong("INVALID_FIELD", "null can be compared by = and != only")
    column = _folded(column, field)
    other = pl.lit(value.lower() if isinstance(value, str) else value)
    match sign:
        case "=":
            return column == other
        case "!=" | "<>":
            return column.ne_missing(other)
        case "<":
            return column < other
        case ">":
            return column > other
        case "<=":
            return column <= other
    return column >= other
