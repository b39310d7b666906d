"""What every source of examples is."""

from typing import Any, Protocol

from fcnjax.data.splits.example import Example


class Source(Protocol):
    """Labelled images, read one at a time by index. Picklable: workers get a copy.

    Attributes:
        class_names: The classes, by id.
    """

    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """How many examples there are."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Reads an example.

        Returns:
            `image` `[H, W, C]` uint8, uint16 or float32, `label` `[H, W]` class ids (uint8, or
            int32 for more than 255 classes; the ignore label as it is) and `name`. The two are
            arrays, or have `shape`, `dtype` and slices `[a:b, c:d]`, and are read by these or whole
            by `np.asarray` (`fcnjax.data.loading.tiles`).

        Raises:
            UserError: A file cannot be read or does not fit; names it.
        """

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an example, read quickly."""


class StoredSource(Source, Protocol):
    """Examples in files: what a `Layout` opens."""

    def stamps(self) -> list[tuple]:
        """What tells these files from others, for a cache of what is decoded from them."""

    def examples(self) -> list[Example]:
        """The identity of each example, in order: a run keeps its split by it."""
