"""The images of a listing that are left, as a dataset of Ray with the columns of `Item`."""

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import ray.data

from fcnjax.inference.inputs.listing import Listing
from fcnjax.inference.inputs.records import ROWS, Group, read_group

MOST_BLOCKS = 4000  # each takes Ray milliseconds
SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "id": pa.string(),
        "source": pa.binary(),  # the name of a file need not be text
        "content": pa.large_binary(),
        "error": pa.string(),
    }
)


def make_dataset(listing: Listing, left: np.ndarray, batch: int, actors: int) -> ray.data.Dataset:
    """The images of a listing that are left.

    Args:
        listing: The listing.
        left: `[N]` their places in it, ascending.
        batch: How many an actor takes at a time.
        actors: How many actors there are.

    Returns:
        A dataset with `SCHEMA`; of records the content too, which Ray's tasks read.
    """
    if listing.groups:
        return ray.data.from_arrow(list(_group_tables(listing, left))).map_batches(
            _read_records, batch_size=1, batch_format="pyarrow", num_cpus=0.5
        )
    # Some for each actor at least, so that all end together.
    most = max(MOST_BLOCKS, 16 * actors)
    rows = max(min(batch, -(-len(left) // (4 * actors))), -(-len(left) // most))
    blocks = (left[start : start + rows] for start in range(0, len(left), rows))
    return ray.data.from_arrow([_block(listing, block) for block in blocks])


def _block(listing: Listing, indexes: np.ndarray) -> pa.Table:
    nothing = [None] * len(indexes)
    columns = {
        "index": indexes,
        "id": [listing.ids[i] for i in indexes],
        "source": [os.fsencode(listing.sources[i]) for i in indexes],
        "content": nothing,
        "error": nothing,
    }
    return pa.Table.from_pydict(columns, schema=SCHEMA)


def _group_tables(listing: Listing, left: np.ndarray) -> Iterator[pa.Table]:
    """A table of one row for each row group of which something is left."""
    for group in listing.groups:
        first, last = np.searchsorted(left, [group.first, group.first + group.rows])
        indexes = left[first:last]
        if len(indexes):
            names = {
                "ids": [listing.ids[i] for i in indexes],
                "sources": [os.fsencode(listing.sources[i]) for i in indexes],
            }
            wanted = (indexes - group.first).tolist()
            yield pa.Table.from_pylist([{**vars(group), "wanted": wanted, **names}])


def _read_records(table: pa.Table) -> Iterator[pa.Table]:
    (row,) = table.to_pylist()
    ids, sources, wanted = row.pop("ids"), row.pop("sources"), row.pop("wanted")
    group = Group(**row)
    names = dict(zip(wanted, zip(ids, sources, strict=True), strict=True))
    records = []
    for number, content, error in read_group(group, frozenset(wanted)):
        values = (group.first + number, *names[number], content, error)
        records.append(dict(zip(SCHEMA.names, values, strict=True)))
        if len(records) == ROWS:
            yield pa.Table.from_pylist(records, schema=SCHEMA)
            records = []
    if records:
        yield pa.Table.from_pylist(records, schema=SCHEMA)
