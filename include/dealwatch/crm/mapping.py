"""From a source's columns and words to the contract's, as the settings' mapping says."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl

from dealwatch.crm.contract import COLUMNS, REQUIRED, RESERVED, Object
from dealwatch.crm.files import Chunk, find_file, read_chunks
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping, Join, RecordMapping

Mapper = Callable[[pl.DataFrame], pl.DataFrame]
Beside = Callable[[Join], tuple[Path, Iterator[Chunk]] | None]


def mapper_of(
    object_: Object,
    mapping: RecordMapping,
    *,
    path: Path,
    header: list[str],
    where: str,
    beside: Beside | None = None,
) -> Mapper:
    """A function from the source's records to the contract's columns, all text, blanks null.

    It keeps `row` and adds `record`, the source's own record as JSON. `where` is the mapping's place in the
    settings, for remedies; `path` is the file, or the table of a live source. `beside` finds what a join
    names; without it, a file of the same folder. Raises ExtractRefused when header and mapping do not fit.
    """
    beside = beside or _files_beside(path, mapping)
    taken = _taken(object_, mapping, path=path, header=header, where=where)
    for key in (key for join in mapping.joins for key in join.on):
        if key not in taken and key not in header:
            raise ExtractRefused(
                f"{path}: column {key!r} is missing, but [{where}] joins by it; correct `on`"
            )
    joined = [(join, _joined(beside(join), path, join, where)) for join in mapping.joins]
    names = [*taken, *(name for join in mapping.joins for name in join.take)]
    missing = [name for name in REQUIRED[object_] if name not in names]
    if missing:
        raise ExtractRefused(
            f"{path}: column {missing[0]!r} is missing ({_holder(mapping)} has {', '.join(header)}); "
            f"deliver it, or say in the settings which column it is: [{where}.columns] {missing[0]} = '...'"
        )
    _no_surprises(names, path=path, where=where)
    _no_strays([*names, *header], mapping, path=path, where=where)
    # An attribute takes part in the ledger; for other objects only the contract's columns mean anything.
    wanted = names if object_ == "deals" else [name for name in names if name in COLUMNS[object_]]

    def to_contract(records: pl.DataFrame) -> pl.DataFrame:
        source = pl.struct(pl.col(f"={name}").alias(name) for name in header).struct.json_encode()
        mapped = records.select(
            "row",
            source.alias("record"),
            *(_word(name, _clean(pl.col(f"={column}")), mapping.values) for name, column in taken.items()),
        )
        for join, other in joined:
            mapped = _with_join(mapped, join, other, mapping)
        return mapped.select("row", "record", *wanted)

    return to_contract


def ours_by_theirs(mapping: RecordMapping) -> dict[str, str]:
    """Our name by the source's column; where a column has two, the contract's one, which a history is of."""
    last = sorted(mapping.columns.items(), key=lambda named: named[0] in COLUMNS["deals"])
    return {column: name for name, column in last}


def _taken(
    object_: Object, mapping: RecordMapping, *, path: Path, header: list[str], where: str
) -> dict[str, str]:
    """Canonical name = source column, in a steady order."""
    for name, column in mapping.columns.items():
        if column not in header:
            raise ExtractRefused(
                f"{path}: column {column!r} is missing ({_holder(mapping)} has {', '.join(header)}), but "
                f"[{where}.columns] {name} = {column!r}; deliver it or correct the mapping"
            )
    renamed = set(mapping.columns.values())
    plain = {name: name for name in header if name not in renamed and name not in mapping.ignore}
    both = sorted(set(plain) & set(mapping.columns))
    if both:
        raise ExtractRefused(
            f"{path}: {both[0]!r} is a column of the file and also mapped from "
            f"{mapping.columns[both[0]]!r}; add the former to [{where}] ignore"
        )
    if object_ != "deals":  # of other records only the contract's columns mean anything
        keys = {key for join in mapping.joins for key in join.on}
        plain = {name: name for name in plain if name in COLUMNS[object_] or name in keys}
    return {**mapping.columns, **plain}


def _holder(mapping: RecordMapping) -> str:
    """What has the columns: a file's first line, or a table."""
    return "line 1" if isinstance(mapping, FileMapping) else "the table"


def _no_surprises(names: list[str], *, path: Path, where: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ExtractRefused(f"{path}: {twice[0]!r} comes from two places; rename one in [{where}]")
    kept = sorted(name for name in names if name in (*RESERVED, "row", "record") or name.startswith("="))
    if kept:
        raise ExtractRefused(
            f"{path}: {kept[0]!r} is a name the ledger keeps for itself; add it to [{where}] ignore, "
            f"or give it another name in [{where}.columns]"
        )


def _no_strays(names: list[str], mapping: RecordMapping, *, path: Path, where: str) -> None:
    """A misspelt name here would let a leak through or leave words untranslated, in silence."""
    for key, meant in (("known_only_at_close", mapping.known_only_at_close), ("values", [*mapping.values])):
        strays = sorted(set(meant) - set(names))
        if strays:
            raise ExtractRefused(
                f"{path}: [{where}] {key} names {strays[0]!r}, which is no column ({', '.join(names)}); "
                f"correct it (it takes our names, as on the left of [{where}.columns])"
            )
    fixed = sorted({"deal_id", "created_at", "outcome", "closed_at"} & set(mapping.known_only_at_close))
    if fixed:
        raise ExtractRefused(f"{path}: {fixed[0]!r} cannot be in [{where}] known_only_at_close; take it out")


def _clean(text: pl.Expr) -> pl.Expr:
    """Without blanks around it; nothing but blanks is nothing."""
    bare = text.str.strip_chars()
    return pl.when(bare != "").then(bare)


def _word(name: str, value: pl.Expr, words: Mapping[str, Mapping[str, str]]) -> pl.Expr:
    """Our word for the source's; a word mapped to nothing means no value."""
    if name in words:
        known = {theirs: ours or None for theirs, ours in words[name].items()}
        value = value.replace(list(known), list(known.values()))
    return value.alias(name)


def _files_beside(path: Path, mapping: RecordMapping) -> Beside:
    """Files of the same folder, written as the file itself."""
    if not isinstance(mapping, FileMapping):
        raise TypeError("only the records of a file can be joined with a file")

    def beside(join: Join) -> tuple[Path, Iterator[Chunk]] | None:
        found = find_file(path.parent, join.file)
        return None if found is None else (found, read_chunks(found, mapping))

    return beside


def _joined(beside: tuple[Path, Iterator[Chunk]] | None, path: Path, join: Join, where: str) -> pl.DataFrame:
    """What is joined, keyed uniquely, its columns marked with `=`."""
    if beside is None:
        raise ExtractRefused(
            f"{path.parent / join.file}: no such file, but [{where}] joins it; deliver it or drop the join"
        )
    found, chunks = beside
    other = _whole(found, chunks)
    for column in [*join.on.values(), *join.take.values()]:
        if f"={column}" not in other.columns:
            raise ExtractRefused(f"{found}: column {column!r} is missing, but [{where}] joins it")
    keys = [f"={column}" for column in join.on.values()]
    other = other.with_columns(_clean(pl.col(column)) for column in other.columns if column != "row")
    repeated = other.filter(pl.struct(keys).is_duplicated()).sort("row")
    if not repeated.is_empty():
        key = ", ".join(str(repeated[column][0]) for column in keys)
        lines = repeated.filter(pl.all_horizontal(pl.col(c).eq_missing(repeated[c][0]) for c in keys))["row"]
        raise ExtractRefused(
            f"{found}: lines {', '.join(map(str, lines.head(5)))} share the key {key!r}, so the join of "
            f"[{where}] cannot tell which is meant; leave one"
        )
    return other.drop("row")


def _whole(path: Path, chunks: Iterator[Chunk]) -> pl.DataFrame:
    parts = []
    for chunk in chunks:
        if chunk.misfits:
            first = chunk.misfits[0]
            raise ExtractRefused(f"{path}: line {first.row}: {first.reason}; mend the record")
        parts.append(chunk.records)
    return pl.concat(parts)


def _with_join(mapped: pl.DataFrame, join: Join, other: pl.DataFrame, mapping: RecordMapping) -> pl.DataFrame:
    renamed = {column: name for name, column in mapping.columns.items()}
    ours = [name if name in mapped.columns else renamed.get(name, name) for name in join.on]
    theirs = [f"={column}" for column in join.on.values()]
    columns = {f"={column}": name for name, column in join.take.items()}
    fetched = other.select(
        *(pl.col(key).alias(f"key {place}") for place, key in enumerate(theirs)),
        *(_word(name, pl.col(column), mapping.values) for column, name in columns.items()),
    )
    return mapped.join(
        fetched,
        left_on=ours,
        right_on=[f"key {place}" for place in range(len(ours))],
        how="left",
        maintain_order="left",
    )
