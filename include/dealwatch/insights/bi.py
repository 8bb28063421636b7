"""The review's figures as CSV for BI tools and spreadsheets: the rows that the warehouse gets."""

from collections.abc import Callable, Mapping

import polars as pl

from dealwatch.insights.keeping import pipeline_rows, rep_rows, segment_rows
from dealwatch.insights.review import Audience, Review

FOR_MANAGERS = ("reps.csv",)
_ROWS: Mapping[str, Callable[[Review], pl.DataFrame]] = {
    "metrics.csv": pipeline_rows,
    "segments.csv": segment_rows,
    "reps.csv": rep_rows,
}
# A spreadsheet runs a cell that begins with one of these, also behind white space or in its wide form.
_RUNS = r"^[\s\x00-\x20]*[=+\-@|\t\r\uFF1D\uFF0B\uFF0D\uFF20]"


def csv_files(review: Review, audience: Audience) -> dict[str, str]:
    """CSV by file name: as_of, period and span, then the columns of the table; UTF-8, a header line.

    metrics.csv is `pipeline_metrics`, segments.csv `segment_metrics` and, for managers, reps.csv
    `rep_metrics`. A text that a spreadsheet would run stands behind an apostrophe; what is null is empty.
    """
    may = [name for name in _ROWS if audience == "managers" or name not in FOR_MANAGERS]
    return {name: _csv(review, _ROWS[name](review)) for name in may}


def _csv(review: Review, rows: pl.DataFrame) -> str:
    of = {"as_of": review.as_of.isoformat(), "period": review.period, "span": review.span.name}
    told = rows.select(*(pl.lit(value).alias(name) for name, value in of.items()), pl.all())
    return told.with_columns(harmless(pl.col(pl.String))).write_csv(quote_style="non_numeric")


def harmless(text: pl.Expr) -> pl.Expr:
    """A text that no spreadsheet takes for a formula."""
    return pl.when(text.str.contains(_RUNS)).then(pl.lit("'") + text).otherwise(text).name.keep()
