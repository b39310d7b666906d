"""Numbers and tables as text."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Format rows of cells as lines; columns with an index in `right` are right-aligned."""
    columns = widths(rows)
    return "\n".join(line(row, columns, right) for row in rows)


def widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the width of each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def line(row: Sequence[str], columns: Sequence[int], right: Sequence[int] = ()) -> str:
    """Format a row as a line."""
    cells = (
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, columns, strict=True))
    )
    return "  ".join(cells).rstrip()


def millions(count: int) -> str:
    """Format a count in millions, `23.51 M`; a small one in full."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"


def products(count: int) -> str:
    """Format a count of multiply-adds: `98.3 k`, `118.0 M`, `21.35 G`."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} G"
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.1f} k"


def numbers(values: Sequence[int]) -> str:
    """Format numbers with spaces between them."""
    return " ".join(map(str, values))


def size(count: float) -> str:
    """Format a number of bytes with a suitable unit."""
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count:,} bytes"
