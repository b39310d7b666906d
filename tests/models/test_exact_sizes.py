"""Padding to a bucket changes nothing, for every model at full size: slow, resumable.

    bash launch/test.sh -m slow tests/models/test_exact_sizes.py

Pairs that passed are noted under `~/.cache/fcnjax/exact_sizes`, by the hash of `fcnjax/models/`,
and skipped when the command runs again. CI tests small models of each family in test_models.py.
"""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_every_pair import SLOW_PAIRS, build_pair

import fcnjax
from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.io.atomic_files import cache_dir, write_text

BUCKET = 64
# Half of a canvas of 64x64, half of one of 128x128: each pair compiles 14 programs.
SIZES = [(1, 1), (5, 7), (31, 33), (50, 64), (63, 64), (64, 64)]
SIZES += [(65, 97), (66, 128), (97, 127), (101, 70), (127, 128), (128, 65)]


def note_path(encoder, decoder):
    """Return the file that notes that the pair passed with the current code."""
    code = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((Path(fcnjax.__file__).parent / "models").rglob("*.py")):
        code.update(path.read_bytes())
    return cache_dir() / "exact_sizes" / code.hexdigest()[:16] / f"{encoder}-{decoder}"


def draw_variables(model, seed):
    """Draw variables without a zero bias or mean."""
    image = jnp.zeros((1, 64, 64, 3))
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), image))
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if leaf.ndim >= 2:
            scale = np.float32((2 / np.prod(leaf.shape[:-1])) ** 0.5)
            return rng.standard_normal(leaf.shape, np.float32) * scale
        low = 0.5 if path[-1].key in ("scale", "var", "gamma") else -0.2
        return rng.uniform(low, low + 1, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def rounding_change(run, variables, image, expected):
    """Return the change of the logits `[H, W, C]` by the last bit of the image's pixels."""
    other = np.nextafter(image, np.inf, dtype=np.float32)
    return np.abs(np.asarray(run(variables, other[None], None))[0] - expected).max()


def draw_stable_variables(run, model, image):
    """Draw variables with which the model is numerically stable in float32.

    A few draws make a deep model chaotic: the first of EfficientNet-B4 changes by 1 % of the
    deviation with the image's last bit, where float64 agrees to 1e-7 with and without padding.
    """
    for seed in range(8):
        variables = draw_variables(model, seed)
        expected = np.asarray(run(variables, image[None], None))[0]
        if rounding_change(run, variables, image, expected) < 1e-3 * expected.std():
            return variables
    raise AssertionError("no draw is stable")


def near_ties(logits, tolerance):
    """Return where the two greatest logits `[H, W, C]` are too close to order."""
    least, most = np.sort(logits, -1)[..., -2:].transpose(2, 0, 1)
    return most - least <= 2 * tolerance


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "decoder"), SLOW_PAIRS)
def test_bucket_gives_logits_of_bare_image(encoder, decoder):
    note = note_path(encoder, decoder)
    if note.is_file() or not (model := build_pair(encoder, decoder)):
        return
    rng = np.random.default_rng(1)
    images = [rng.standard_normal((*size, 3), np.float32) for size in SIZES]
    # The variables are arguments: constants would be folded for minutes.
    run = jax.jit(
        lambda variables, image, extent: model.apply(variables, image, extent=extent)["logits"]
    )
    variables = draw_stable_variables(run, model, images[-2])
    groups = {}
    for index, size in enumerate(SIZES):
        groups.setdefault(bucket_canvas(size, BUCKET), []).append(index)
    for canvas, members in groups.items():
        batch = np.stack([pad_to(images[index], canvas, np.nan) for index in members])
        extent = np.asarray([SIZES[index] for index in members], np.int32)
        together = np.asarray(run(variables, batch, extent))
        for logits, index in zip(together, members, strict=True):
            height, width = SIZES[index]
            expected = np.asarray(run(variables, images[index][None], None))[0]
            logits = logits[:height, :width]
            assert np.isfinite(logits).all()
            # Deep models with random weights amplify rounding: the last bit of the image's pixels
            # changes some logits of EfficientNet by 5e-5.
            rounding = rounding_change(run, variables, images[index], expected)
            tolerance = max(1e-4 * expected.std(), 8 * rounding)
            assert np.abs(logits - expected).max() <= tolerance, SIZES[index]
            differ = logits.argmax(-1) != expected.argmax(-1)
            assert not (differ & ~near_ties(expected, tolerance)).any(), SIZES[index]
    assert len(groups) == 2
    assert run._cache_size() == len(groups) + len(SIZES)
    write_text(note, "passed\n")
    jax.clear_caches()
