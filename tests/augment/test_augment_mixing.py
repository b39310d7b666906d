"""Mixing, tested on batches whose pixels encode their example."""

import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest

from fcnjax.augment import mix_batch
from fcnjax.config import default_config
from fcnjax.errors import UserError
from fcnjax.losses import make_loss

IGNORE = 255


def make_config(**augment):
    config = default_config()
    config.data.class_names = ("a", "b", "c", "d", "e", "f")
    config.augment.update(augment)
    return config


def numbered(count, height=12, width=16):
    """Return pixels `[B, h, w, 1]` and labels that equal the example's index."""
    labels = np.broadcast_to(np.arange(count)[:, None, None], (count, height, width))
    return labels[..., None].astype(np.float32), labels.astype(np.int32)


def mix(config, images, labels):
    return next(mixes(config, images, labels, 1))


def mixes(config, images, labels, count):
    """Return images, labels, the partners' labels and the weights for several keys."""
    fn = jax.jit(lambda key, i, la: tuple(mix_batch(key, i, la, config))[:4])
    for seed in range(count):
        yield jax.device_get(fn(jax.random.key(seed), images, labels))


def test_no_mixing_leaves_the_batch_unchanged():
    images, labels = numbered(3)
    mixed = mix_batch(jax.random.key(0), images, labels, make_config())
    assert mixed.image is images
    assert mixed.label is labels
    assert mixed.other is None
    value = object()
    assert mixed.loss(lambda *given: (value, given), {}, None)[0] is value


@pytest.mark.parametrize("way", ["cutmix", "classmix", "mosaic"])
def test_image_and_label_are_mixed_alike(way):
    images, _ = numbered(64)
    parts = np.random.default_rng(0).integers(0, 6, (64, 12, 16)).astype(np.int32)
    image, label, other, weight = mix(make_config(**{way: 1.0}), images, parts)
    assert other is None
    assert weight is None
    back = (np.arange(64)[:, None, None] - image[..., 0]) % 64
    assert set(np.unique(back)) <= ({0, 1, 2, 3} if way == "mosaic" else {0, 1})
    assert 0.2 < (back != 0).mean() < 0.8
    owner = image[..., 0].astype(int)
    ys, xs = np.mgrid[:12, :16]
    np.testing.assert_array_equal(label, parts[owner, ys, xs])


def test_cutmix_area_is_uniform():
    images, labels = numbered(400, 32, 32)
    _, label, *_ = mix(make_config(cutmix=1.0), images, labels)
    pasted = label != np.arange(400)[:, None, None]
    for one in pasted:
        rows, columns = one.any(1), one.any(0)
        np.testing.assert_array_equal(one, rows[:, None] & columns)
        for along in (rows, columns):
            assert np.abs(np.diff(along.astype(int))).sum() <= 2  # one piece
    # Half, less what hangs over: a side s of 1 keeps 1 - s / 4 of itself on average, and E s² is
    # 1/2, E s³ 2/5, E s⁴ 1/3: 1/2 - 1/5 + 1/48.
    assert pasted.mean() == pytest.approx(1 / 2 - 1 / 5 + 1 / 48, abs=0.05)


def test_classmix_pastes_half_of_the_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (200, 12, 16)).astype(np.int32)
    labels[:, :2] = IGNORE
    labels[::2][labels[::2] == 4] = 0
    images, _ = numbered(200)
    image, _, *_ = mix(make_config(classmix=1.0), images, labels)
    pasted = image[..., 0] != np.arange(200)[:, None, None]
    taken_of_all = np.zeros(5)
    for i, (one, before) in enumerate(zip(pasted, np.roll(labels, 1, 0), strict=True)):
        taken = set(np.unique(before[one]))
        assert len(taken) == 2  # of four or of five
        np.testing.assert_array_equal(one, np.isin(before, list(taken)), err_msg=str(i))
        taken_of_all[list(taken)] += 1
    assert (taken_of_all[:4] > 60).all()
    assert 20 < taken_of_all[4] < 60


def test_classmix_of_a_single_class_pastes_nothing():
    images, labels = numbered(4)
    image, label, *_ = mix(make_config(classmix=1.0), images, labels)
    np.testing.assert_array_equal(image, images)
    np.testing.assert_array_equal(label, labels)


def test_mosaic_has_four_quadrants():
    images, labels = numbered(32, 40, 40)
    _, label, *_ = mix(make_config(mosaic=1.0), images, labels)
    points = set()
    for i, one in enumerate(label):
        y, x = (one[:, 0] == i).sum(), (one[0] == i).sum()
        expected = np.empty((40, 40), int)
        expected[:y, :x], expected[:y, x:] = i, (i - 1) % 32
        expected[y:, :x], expected[y:, x:] = (i - 2) % 32, (i - 3) % 32
        np.testing.assert_array_equal(one, expected)
        points.add((y, x))
    assert len(points) > 20
    assert all(10 <= side <= 30 for point in points for side in point)


def test_mixup_blends_images_by_the_label_weight():
    images, labels = numbered(64)
    weights = []
    for image, label, other, weight in mixes(make_config(mixup=0.5), images, labels, 20):
        blended = (other != label).all((1, 2))
        assert ((other != label).any((1, 2)) == blended).all()
        before = np.roll(images, 1, 0)
        expected = np.where(
            blended[:, None, None, None], weight * images + (1 - weight) * before, images
        )
        np.testing.assert_allclose(image, expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(label, labels)
        np.testing.assert_array_equal(other[blended], np.roll(labels, 1, 0)[blended])
        assert 32 - 20 <= blended.sum() <= 32 + 20
        weights.append(float(weight))
    assert 0.5 <= min(weights) < max(weights) <= 1
    assert len(set(weights)) > 10


def test_mixup_weights_follow_a_beta_distribution():
    """With alpha 1 they are uniform in 0.5..1; with a large alpha they are close to 0.5."""
    images, labels = numbered(2, 1, 1)
    for alpha, mean, spread in ((1.0, 0.75, 0.5 / 12**0.5), (400.0, 0.5 + 0.0141, 0.0107)):
        config = make_config(mixup=1.0, mixup_alpha=alpha)
        draw = jax.jit(jax.vmap(lambda key, c=config: mix_batch(key, images, labels, c).weight))
        weights = np.asarray(draw(jax.random.split(jax.random.key(0), 500)))
        assert weights.mean() == pytest.approx(mean, abs=5 * spread / 500**0.5)
        assert weights.std() == pytest.approx(spread, rel=0.15)


def test_mixup_loss_is_the_weighted_mean_over_both_labels():
    config = make_config(mixup=1.0)
    config.loss.dice = 0.5
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, (4, 5, 6)).astype(np.int32)
    outputs = {"logits": rng.normal(size=(4, 5, 6, 6)).astype(np.float32), "aux": {}}
    images = rng.normal(size=(4, 5, 6, 3)).astype(np.float32)
    valid = np.asarray([True, True, True, False])
    loss_fn = jax.jit(make_loss(config))

    @jax.jit
    def mixed_loss(*batch):
        mixed = mix_batch(jax.random.key(3), *batch, config)
        return mixed.weight, *mixed.loss(loss_fn, outputs, valid)

    weight, total, terms = jax.device_get(mixed_loss(images, labels))
    own, own_terms = jax.device_get(loss_fn(outputs, labels, valid))
    other, other_terms = jax.device_get(loss_fn(outputs, np.roll(labels, 1, 0), valid))
    assert 0.5 <= weight < 1
    assert float(total) == pytest.approx(weight * own + (1 - weight) * other, rel=1e-5)
    assert terms.keys() == {"cross_entropy", "dice"}
    for name, value in terms.items():
        expected = weight * own_terms[name] + (1 - weight) * other_terms[name]
        assert float(value) == pytest.approx(expected, rel=1e-5)


def test_each_example_is_mixed_by_one_method():
    images, labels = numbered(4000, 8, 8)
    config = make_config(mixup=0.4, cutmix=0.1, mosaic=0.2)
    image, label, other, _ = mix(config, images, labels)
    own = np.arange(4000)[:, None, None]
    blended = (other != label).any((1, 2))
    pasted = (label != own).any((1, 2))
    assert not (blended & pasted).any()
    mosaic = (label == (own - 2) % 4000).any((1, 2))
    cutmix = pasted & ~mosaic
    # Now and then a rectangle has no pixel.
    assert cutmix.mean() == pytest.approx(0.1, abs=0.03)
    assert mosaic.mean() == pytest.approx(0.2, abs=0.03)
    assert blended.mean() == pytest.approx(0.4, abs=0.04)
    np.testing.assert_array_equal(image[pasted, ..., 0], label[pasted])


@pytest.mark.parametrize(("way", "size"), [("mixup", 1), ("cutmix", 1), ("mosaic", 3)])
def test_too_small_batch_raises(way, size):
    words = rf"config\.train\.batch_size: {size} is too small for config\.augment\.{way}"
    with pytest.raises(UserError, match=words):
        mix_batch(jax.random.key(0), *numbered(size), make_config(**{way: 0.5}))


def test_sharded_batch_mixes_alike_with_few_transfers():
    """Run in a subprocess, since the number of devices is fixed when JAX starts."""
    code = """
        import re
        import jax
        import numpy as np
        from fcnjax.config import default_config
        from fcnjax.augment import mix_batch
        from fcnjax.parallel.mesh import batch_sharding, make_mesh, replicated

        config = default_config()
        config.data.class_names = tuple("abcdef")
        config.augment.update({"mixup": 0.25, "cutmix": 0.25, "classmix": 0.25, "mosaic": 0.25})
        mesh = make_mesh(config)
        whole, divided = replicated(mesh), batch_sharding(mesh)
        rng = np.random.default_rng(0)
        images = rng.normal(size=(16, 12, 16, 3)).astype(np.float32)
        labels = rng.integers(0, 6, (16, 12, 16)).astype(np.int32)

        def mix(key, images, labels):
            return tuple(mix_batch(key, images, labels, config))[:4]

        given = jax.random.key(0), images, labels
        step = jax.jit(mix, in_shardings=(whole, divided, divided)).lower(*given).compile()
        moves = re.findall(
            r"= f32\\[(\\d+),12,16,3\\]\\S* (all-[a-z]+|collective-permute|reduce-scatter)",
            step.as_text(),
        )
        assert {name for _, name in moves} == {"collective-permute"}, moves
        assert sum(int(count) for count, _ in moves) <= 6, moves
        assert not re.search("all-to-all|all-gather", step.as_text())
        given = jax.device_put(given, (whole, divided, divided))
        for one, other in zip(jax.jit(mix)(jax.random.key(0), images, labels), step(*given)):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        print(jax.device_count())
    """
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4"
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "4"
