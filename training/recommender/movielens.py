"""MovieLens-100K (Harper and Konstan, 2015), read from a package of the package index."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from training.packages import Package, package_file
from training.recommender.interactions import Columns, Corpus, build_corpus
from training.tables import Table, read_table

PACKAGE = Package("recbole==1.2.1", "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407")
_FOLDER = "recbole/dataset_example/ml-100k"

COLUMNS = Columns(user="user_id", item="item_id", time="timestamp", rating="rating", title="title")
USER_ATTRIBUTES = ("age", "gender", "occupation")
ITEM_ATTRIBUTES = ("release_year", "genres")


def movielens_100k() -> tuple[Table, Table, Table]:
    """Return 100,000 ratings, 943 users (age, gender, occupation) and 1,682 movies (title with year, year, genres).

    The first call downloads a package of 2 MB. Raises DataInvalid when that fails.
    """
    events, users, items = (
        read_table(package_file(PACKAGE, f"{_FOLDER}/ml-100k.{kind}")) for kind in ("inter", "user", "item")
    )
    return events, users, _with_titles(items)


def corpus_of(tables: tuple[Table, Table, Table]) -> Corpus:
    """Join the three tables into one corpus."""
    events, users, items = tables
    return build_corpus(
        events,
        COLUMNS,
        users=users,
        items=items,
        user_attributes=USER_ATTRIBUTES,
        item_attributes=ITEM_ATTRIBUTES,
    )


def _with_titles(items: Table) -> Table:
    year = items.column("release_year").cast(pa.string())
    is_known = pc.match_substring_regex(year, r"^\d{4}$")
    title = items.column("movie_title").cast(pa.string())
    dated = pc.binary_join_element_wise(title, pc.binary_join_element_wise("(", year, ")", ""), " ")
    data = pa.table(
        {
            "item_id": items.column("item_id"),
            "title": pc.if_else(is_known, dated, title),
            "release_year": pc.if_else(is_known, year, pa.scalar(None, pa.string())),
            "genres": items.column("class"),
        }
    )
    return Table(name=items.name, sha256=items.sha256, data=data, tags=("genres",))
