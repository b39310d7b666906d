"""Padding to a bucket is invisible, for every model of the zoo at its full size: slow, resumable.

    bash launch/test.sh -m slow tests/models/test_exact_sizes.py

What has passed is noted under `~/.cache/fcnjax/exact_sizes`, by the hash of `fcnjax/models/`: the
same command goes on from there. test_models.py does it in small for every family in CI.
"""

import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_every_pair import SLOW_PAIRS, built

import fcnjax
from fcnjax.data.loading.canvas import bucket_canvas, pad_to
from fcnjax.io.atomic_files import cache_dir, write_text

BUCKET = 64
# Half of a canvas of 64x64, half of one of 128x128: each pair compiles 14 programs.
SIZES = [(1, 1), (5, 7), (31, 33), (50, 64), (63, 64), (64, 64)]
SIZES += [(65, 97), (66, 128), (97, 127), (101, 70), (127, 128), (128, 65)]
OPTIONS = {"xla_backend_optimization_level": 0}


def noted(encoder, decoder):
    """Where it is noted that the pair passed, of the models as they are now."""
    code = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted((Path(fcnjax.__file__).parent / "models").rglob("*.py")):
        code.update(path.read_bytes())
    return cache_dir() / "exact_sizes" / code.hexdigest()[:16] / f"{encoder}-{decoder}"


def drawn(model, seed):
    """Variables whose biases and means are none of them zero."""
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


def moved_by_rounding(run, variables, image, expected):
    """How much of the logits `[H, W, C]` hangs on the last bit of the image's pixels."""
    other = np.nextafter(image, np.inf, dtype=np.float32)
    return np.abs(np.asarray(run(variables, other[None], None))[0] - expected).max()


def steady(run, model, image):
    """Drawn variables with which the model is a function that float32 can follow.

    A few draws make a deep one chaotic: EfficientNet-B4's first moves by 1 % of the deviation with
    the image's last bit, where float64 finds the padding invisible to 1e-7.
    """
    for seed in range(8):
        variables = drawn(model, seed)
        expected = np.asarray(run(variables, image[None], None))[0]
        if moved_by_rounding(run, variables, image, expected) < 1e-3 * expected.std():
            return variables
    raise AssertionError("no draw is steady")


def ties(logits, tolerance):
    """Where the two greatest logits `[H, W, C]` are so near that either may win."""
    least, most = np.sort(logits, -1)[..., -2:].transpose(2, 0, 1)
    return most - least <= 2 * tolerance


@pytest.mark.slow
@pytest.mark.parametrize(("encoder", "decoder"), SLOW_PAIRS)
def test_a_bucket_gives_what_the_bare_image_gives(encoder, decoder):
    note = noted(encoder, decoder)
    if note.is_file() or not (model := built(encoder, decoder)):
        return
    rng = np.random.default_rng(1)
    images = [rng.standard_normal((*size, 3), np.float32) for size in SIZES]
    # The variables are arguments: constants would be folded for minutes.
    run = jax.jit(
        lambda variables, image, extent: model.apply(variables, image, extent=extent)["logits"],
        compiler_options=OPTIONS,
    )
    variables = steady(run, model, images[-2])
    groups = {}
    for index, size in enumerate(SIZES):
        groups.setdefault(bucket_canvas(size, BUCKET), []).append(index)
    for canvas, members in groups.items():
        batch = np.stack([pad_to(images[index], canvas, np.nan) for index in members])
        extent = np.asarray([SIZES[index] for index in members], np.int32)
        together = np.asarray(run(variables, batch, extent))
        for found, index in zip(together, members, strict=True):
            height, width = SIZES[index]
            expected = np.asarray(run(variables, images[index][None], None))[0]
            found = found[:height, :width]
            assert np.isfinite(found).all()
            # A deep model of drawn weights makes much of a rounding: the last bit of the image's
            # pixels changes some logits of EfficientNet by half of 1e-4.
            rounding = moved_by_rounding(run, variables, images[index], expected)
            tolerance = max(1e-4 * expected.std(), 8 * rounding)
            assert np.abs(found - expected).max() <= tolerance, SIZES[index]
            differ = found.argmax(-1) != expected.argmax(-1)
            assert not (differ & ~ties(expected, tolerance)).any(), SIZES[index]
    assert len(groups) == 2
    assert run._cache_size() == len(groups) + len(SIZES)
    write_text(note, "passed\n")
    jax.clear_caches()
