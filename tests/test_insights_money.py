"""Money of several currencies is refused with a reason, never added up."""

import polars as pl

from dealwatch.insights.money import currencies, refusal
from dealwatch.settings import Settings

EUR = Settings(currency="EUR")


def deals(*told: tuple[float | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(told, schema={"amount": pl.Float64, "currency": pl.Categorical}, orient="row")


def test_one_currency_may_be_added_up_and_no_name_is_the_organisations() -> None:
    assert refusal(deals((1.0, "EUR"), (2.0, None)), EUR) == ""
    assert currencies(deals((1.0, None)), EUR) == ["EUR"]


def test_several_are_refused_by_name() -> None:
    assert "(EUR, USD)" in refusal(deals((1.0, None), (2.0, "USD")), EUR)


def test_a_deal_without_an_amount_brings_no_currency() -> None:
    assert refusal(deals((1.0, "EUR"), (None, "USD")), EUR) == ""
    assert currencies(deals((None, "USD")), EUR) == []
