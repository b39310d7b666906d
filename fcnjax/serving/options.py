"""The options of a server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Options of a server.

    Attributes:
        name: Name of the run or model, which the page shows.
        batch: Largest number of images in a batch.
        queue: Images of all requests that may wait; more are refused.
        programs: Number of compiled programs that are kept. The least recently used one is freed,
            so that clients with ever new sizes cost time, but neither memory nor programs of usual
            sizes.
        max_bytes: Limit of a request body.
        max_total_bytes: Limit of what all requests together hold: bodies, JSON values, images,
            probabilities and responses. A batch on the device is not included.
        max_pixels: Limit of an image, and of a batch with its padding unless a single image has
            more. It bounds the device memory.
        receive_seconds: Time limit for a request to arrive.
        answer_seconds: Time limit for the prediction of its images, from then on.
        connections: Largest number of connections.
        drain_seconds: Time limit for open requests at the end.
        warm: Heights and widths whose programs are compiled at the start.
        allowed_hosts: Lower-case names that the `Host` of a request may be, besides loopback names
            and addresses; None allows any name, and pages of any origin.
    """

    name: str = "model"
    batch: int = 8
    queue: int = 64
    programs: int = 64
    max_bytes: int = 64 * 2**20
    max_total_bytes: int = 2 * 2**30
    max_pixels: int = 16 * 2**20
    receive_seconds: float = 30.0
    answer_seconds: float = 60.0
    connections: int = 256
    drain_seconds: int = 30
    warm: tuple[tuple[int, int], ...] = ()
    allowed_hosts: tuple[str, ...] | None = None
