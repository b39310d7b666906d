"""Write the descriptions of all encoders and decoders that `fcnjax models list` prints.

    python benchmarks/model_list.py

Describes each model on a traced program, and writes `fcnjax/inspection/summaries/models.json`.
"""

import json
from collections.abc import Iterable
from typing import Any

import jax

from fcnjax.inspection.summaries.describe import describe_decoder, describe_encoder
from fcnjax.inspection.summaries.listing import MODELS_FILE
from fcnjax.models import DECODERS, ENCODERS


def lines(rows: Iterable[dict[str, Any]]) -> str:
    """Format descriptions as a JSON list, one a line."""
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


def main() -> None:
    """Describe the models and write the file."""
    jax.config.update("jax_platforms", "cpu")
    encoders, decoders = map(describe_encoder, ENCODERS), map(describe_decoder, DECODERS)
    text = f'{{"encoders": {lines(encoders)},\n"decoders": {lines(decoders)}}}\n'
    MODELS_FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
