"""The remaining images of a listing as a Ray dataset with the columns of `InputItem`."""

import os
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import ray.data

from fcnjax.inference.inputs.listing import Listing
from fcnjax.inference.inputs.records import ROWS, Group, read_group

MAX_BLOCKS = 4000  # each costs Ray milliseconds
SCHEMA = pa.schema(
    {
        "index": pa.int64(),
        "id": pa.string(),
        "source": pa.binary(),  # a file name need not be UTF-8
        "content": pa.large_binary(),
        "error": pa.string(),
    }
)


def make_dataset(
    listing: Listing, remaining: np.ndarray, batch: int, actors: int
) -> ray.data.Dataset:
    """Return the remaining images of a listing.

    Args:
        listing: The listing.
        remaining: `[N]` positions of the images in the listing, ascending.
        batch: Number of images that an actor takes at a time.
        actors: Number of actors.

    Returns:
        A dataset with `SCHEMA`. Ray's tasks read the content of records.
    """
    if listing.groups:
        return ray.data.from_arrow(list(_group_tables(listing, remaining))).map_batches(
            _read_records, batch_size=1, batch_format="pyarrow", num_cpus=0.5
        )
    # Several blocks per actor, so that all actors finish at about the same time.
    max_blocks = max(MAX_BLOCKS, 16 * actors)
    rows = max(min(batch, -(-len(remaining) // (4 * actors))), -(-len(remaining) // max_blocks))
    blocks = (remaining[start : start + rows] for start in range(0, len(remaining), rows))
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


def _group_tables(listing: Listing, remaining: np.ndarray) -> Iterator[pa.Table]:
    """Yield a table of one row for each row group with remaining images."""
    for group in listing.groups:
        first, last = np.searchsorted(remaining, [group.first, group.first + group.rows])
        indexes = remaining[first:last]
        if len(indexes):
            names = {
                "ids": [listing.ids[i] for i in indexes],
                "sources": [os.fsencode(listing.sources[i]) for i in indexes],
            }
            rows = (indexes - group.first).tolist()
            yield pa.Table.from_pylist([{**vars(group), "remaining": rows, **names}])


def _read_records(table: pa.Table) -> Iterator[pa.Table]:
    (row,) = table.to_pylist()
    ids, sources, remaining = row.pop("ids"), row.pop("sources"), row.pop("remaining")
    group = Group(**row)
    names = dict(zip(remaining, zip(ids, sources, strict=True), strict=True))
    records = []
    for number, content, error in read_group(group, frozenset(remaining)):
        values = (group.first + number, *names[number], content, error)
        records.append(dict(zip(SCHEMA.names, values, strict=True)))
        if len(records) == ROWS:
            yield pa.Table.from_pylist(records, schema=SCHEMA)
            records = []
    if records:
        yield pa.Table.from_pylist(records, schema=SCHEMA)
