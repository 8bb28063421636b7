"""A mapping turns a source's columns and words into the contract's, and says so when it cannot."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dealwatch.crm.mapping import mapper_of
from dealwatch.errors import ExtractRefused
from dealwatch.knobs import FileMapping, Join, RecordMapping
from drop_files import write_drop

REQUIRED = {"deal_id": ["1"], "stage": ["Demo"], "created_at": ["2026-01-01"]}


def mapped(folder: Path, records: dict[str, list[str]], **mapping: Any) -> pl.DataFrame:
    settings = FileMapping.model_validate({"file": "deals.csv", **mapping})
    rows = pl.DataFrame({"row": [2], **{f"={name}": values for name, values in records.items()}})
    header = list(records)
    path = folder / "deals.csv"
    return mapper_of("deals", settings, path=path, header=header, where="sources.crm.deals")(rows)


def test_columns_are_renamed_words_translated_and_blanks_are_nothing(tmp_path: Path) -> None:
    told = mapped(
        tmp_path,
        {"Id": [" 007 "], "Phase": ["Won"], "Opened": ["2026-01-01"], "Owner": ["  "], "Notes": ["x"]},
        columns={"deal_id": "Id", "stage": "Phase", "outcome": "Phase", "created_at": "Opened"},
        values={"outcome": {"Won": "won", "Working": ""}},
        ignore=["Notes"],
    )
    assert told.drop("record").to_dicts() == [
        {
            "row": 2,
            "deal_id": "007",
            "stage": "Won",
            "outcome": "won",
            "created_at": "2026-01-01",
            "Owner": None,
        }
    ]
    assert told["record"].to_list() == [
        '{"Id":" 007 ","Phase":"Won","Opened":"2026-01-01","Owner":"  ","Notes":"x"}'
    ]


def test_a_join_fetches_columns_by_our_translated_word_and_misses_stay_null(tmp_path: Path) -> None:
    write_drop(tmp_path, products="product,price\nGTX Pro,4821\nMG,55\n")
    join = {"file": "products.csv", "on": {"product_type": "product"}, "take": {"amount": "price"}}
    for word, price in (("GTXPro", "4821"), ("MG", "55"), ("none such", None), ("", None)):
        told = mapped(
            tmp_path,
            {**REQUIRED, "item": [word]},
            columns={"product_type": "item"},
            values={"product_type": {"GTXPro": "GTX Pro"}},
            joins=[join],
        )
        assert told["amount"].to_list() == [price]


@pytest.mark.parametrize(
    ("records", "mapping", "says"),
    [
        ({"deal_id": ["1"], "stage": ["x"]}, {}, "column 'created_at' is missing"),
        (REQUIRED, {"columns": {"amount": "Value"}}, "[sources.crm.deals.columns] amount = 'Value'"),
        ({**REQUIRED, "amount": ["1"], "v": ["2"]}, {"columns": {"amount": "v"}}, "also mapped from 'v'"),
        (REQUIRED, {"known_only_at_close": ["paid"]}, "known_only_at_close names 'paid', which is no column"),
        (REQUIRED, {"known_only_at_close": ["created_at"]}, "'created_at' cannot be in"),
        (REQUIRED, {"values": {"outcme": {"Won": "won"}}}, "values names 'outcme', which is no column"),
        ({**REQUIRED, "deleted": ["no"]}, {}, "'deleted' is a name the ledger keeps"),
        (
            REQUIRED,
            {"joins": [{"file": "gone.csv", "on": {"stage": "s"}, "take": {"region": "r"}}]},
            "no such file, but [sources.crm.deals] joins it",
        ),
        (
            REQUIRED,
            {"joins": [{"file": "twice.csv", "on": {"stage": "s"}, "take": {"region": "r"}}]},
            "lines 2, 4 share the key 'Demo'",
        ),
        (
            REQUIRED,
            {"joins": [{"file": "twice.csv", "on": {"team": "s"}, "take": {"region": "r"}}]},
            "column 'team' is missing",
        ),
        (
            REQUIRED,
            {"joins": [{"file": "twice.csv", "on": {"stage": "s"}, "take": {"region": "nope"}}]},
            "column 'nope' is missing",
        ),
    ],
)
def test_a_mapping_that_does_not_fit_the_file_is_refused(
    tmp_path: Path, records: dict[str, list[str]], mapping: dict[str, Any], says: str
) -> None:
    write_drop(tmp_path, twice="s,r\nDemo,north\nLegal,south\nDemo,west\n")
    with pytest.raises(ExtractRefused) as refused:
        mapped(tmp_path, records, **mapping)
    assert says in str(refused.value)
    assert ".csv" in str(refused.value)


@pytest.mark.parametrize(
    ("object_", "header"),
    [
        ("deletions", ["deal_id", "deleted"]),
        ("ids", ["deal_id", "record"]),
        ("activities", ["deal_id", "happened_at", "deleted", "row"]),
        ("owners", ["owner_id", "deleted"]),
    ],
)
def test_what_a_row_beside_deals_says_beyond_the_contract_means_nothing(
    object_: Any, header: list[str]
) -> None:
    mapper = mapper_of(
        object_, RecordMapping(), path=Path("crm: Gone"), header=header, where="sources.crm", beside=nothing
    )
    records = pl.DataFrame({"row": [1], **{f"={name}": ["x"] for name in header}})
    assert mapper(records).columns == [
        "row",
        "record",
        *(name for name in header if name.endswith(("_id", "_at"))),
    ]


def nothing(_: Join) -> None:
    return None


def test_a_refusal_of_a_live_table_speaks_of_the_table_and_of_no_line() -> None:
    with pytest.raises(ExtractRefused) as error:
        told = {"path": Path("crm: Opportunity"), "header": ["deal_id"], "where": "sources.crm.deals"}
        mapper_of("deals", RecordMapping(), **told, beside=nothing)  # type: ignore[arg-type]
    assert str(error.value).startswith("crm: Opportunity: column 'stage' is missing (the table has deal_id)")
