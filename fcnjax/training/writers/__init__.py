"""Writers of the metrics of a training: to the terminal, metrics.jsonl and TensorBoard.

A writer may be given any metrics. The terminal and the report know a few by name: `loss`, `lr` and
`images_per_second` of training, and `eval/NAME` and `eval/NAME/CLASS` of an evaluation.
"""

from fcnjax.training.writers.open import Writer, open_writers

__all__ = ["Writer", "open_writers"]
