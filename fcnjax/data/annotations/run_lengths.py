"""Masks stored as run lengths by COCO, CVAT and Label Studio, checked before use.

Every function raises ValueError, with a reason, for lengths that are damaged or of another size.
"""

from collections.abc import Sequence

import numpy as np

from fcnjax.data.annotations.runs import Runs, from_lengths

_HEADER = 32 + 5 + 4 * 4  # bits of Label Studio's header


def fill_runs(counts: Sequence | np.ndarray, length: int) -> np.ndarray:
    """Return the pixels, bool `[length]`, of runs that alternate between 0 and 1, from 0."""
    lengths = check_lengths(counts, length)
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)


def check_lengths(counts: Sequence | np.ndarray, length: int) -> np.ndarray:
    """Return the lengths of runs as int64 `[N]`.

    Args:
        counts: Length of each run: integers, which may be stored as floats or texts.
        length: The required sum.
    """
    lengths = np.asarray(counts)
    if lengths.dtype.kind not in "iu":
        try:
            exact = np.asarray([float(count) for count in counts], np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError("a run length is not a number") from error
        if not np.isfinite(exact).all() or (exact != np.floor(exact)).any():
            raise ValueError("a run length is not a whole number")
        lengths = exact
    if lengths.ndim != 1 or (lengths < 0).any():
        raise ValueError("a run length is below 0")
    total = lengths.sum(dtype=np.float64)
    if total != length:
        raise ValueError(f"the run lengths sum to {total:.0f}, not {length}")
    return lengths.astype(np.int64)


def parse_counts(text: str) -> np.ndarray:
    """Parse COCO's compressed run lengths.

    A length is written in groups of 5 bits, lowest first, each a character from code 48 on. Bit 5
    says that another group follows; the last group has the sign. From the fourth length on, the
    difference to the length two before is stored.

    Returns:
        Int64 `[runs]`.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise ValueError("the run lengths have a character that is not ASCII") from error
    if codes.size == 0:
        return codes
    if (codes < 0).any() or (codes > 63).any():
        raise ValueError("the run lengths have a character outside '0' to 'o'")
    last = codes & 32 == 0
    if not last[-1]:
        raise ValueError("the run lengths end within a number")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    groups = ends - starts + 1
    if groups.max() > 7:  # 35 bits
        raise ValueError("a run length has more than 35 bits")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, groups))
    numbers = np.add.reduceat((codes & 31) << shifts, starts)
    negative = codes[ends] & 16 != 0
    numbers -= negative * (np.int64(1) << (5 * groups))
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def coco_mask(counts: str | Sequence, size: tuple[int, int]) -> Runs:
    """Return the pixels of COCO's run lengths, compressed or a list, down the columns."""
    lengths = parse_counts(counts) if isinstance(counts, str) else counts
    return from_lengths(check_lengths(lengths, size[0] * size[1]))


def cvat_mask(text: str, size: tuple[int, int]) -> np.ndarray:
    """Return the mask `[H, W]` bool of CVAT's comma-separated run lengths along the rows."""
    counts = [part for part in text.split(",") if part.strip()]
    return fill_runs(counts, size[0] * size[1]).reshape(size)


def label_studio_mask(values: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """Return the mask `[H, W]` bool of Label Studio's brush: true where the opacity is not 0.

    The bytes are those of the package rle-pack of thi.ng: a header with the number of values, the
    bits of a value and four sizes of run lengths; then runs of one value, and of several.

    Args:
        values: The bytes.
        size: Height and width.
    """
    data = np.asarray(values)
    if data.ndim != 1 or data.dtype.kind not in "iu" or (data < 0).any() or (data > 255).any():
        raise ValueError("the run lengths are not a list of bytes")
    bits = np.unpackbits(data.astype(np.uint8))
    text = (bits + 48).tobytes().decode("ascii")
    if len(text) < _HEADER:
        raise ValueError("the run lengths end within the header")
    height, width = size
    count, word = int(text[:32], 2), int(text[32:37], 2) + 1
    if count != 4 * height * width:
        raise ValueError(
            f"the run lengths hold {count} values, not 4 for each of {width}x{height} pixels"
        )
    sizes = [int(text[37 + 4 * i : 41 + 4 * i], 2) + 1 for i in range(4)]
    out = np.zeros(count, bool)
    at, done = _HEADER, 0
    while done < count:
        bits_of_run = sizes[int(text[at + 1 : at + 3] or "0", 2)]
        start = at + 3 + bits_of_run
        if start + word > len(text):
            raise ValueError("the run lengths end before the last value")
        run = int(text[at + 3 : start], 2) + 1
        words = 1 if text[at] == "1" else run
        at = start + words * word
        if at > len(text) or done + run > count:
            raise ValueError("the run lengths end before the last value, or hold more")
        out[done : done + run] = bits[start:at].reshape(words, word).any(1)
        done += run
    return out.reshape(height, width, 4)[..., 3]
