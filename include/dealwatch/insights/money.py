"""May amounts be added up: those of one currency only; a deal without an amount counts nowhere in money."""

import polars as pl

from dealwatch.settings import Settings

# No amount, nothing and less than nothing weigh nothing.
PAID = pl.when(pl.col("amount") > 0).then("amount")


def currencies(rows: pl.DataFrame, settings: Settings) -> list[str]:
    """The currencies of those deals that have an amount; a deal that names none is in the organisation's."""
    named = rows.filter(pl.col("amount").is_not_null())["currency"].cast(pl.String)
    return sorted(named.fill_null(settings.currency).unique().to_list())


def refusal(rows: pl.DataFrame, settings: Settings) -> str:
    """Why the amounts of these deals cannot be added up; empty when they can.

    Converting at our own rates would make figures that no other report shows: the source converts, or nobody.
    """
    found = currencies(rows, settings)
    if len(found) < 2:
        return ""
    return f"amounts are in several currencies ({', '.join(found)}), which cannot be added up"
