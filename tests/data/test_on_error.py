import contextlib
import itertools
import json
import pickle

import jax
import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax import data
from fcnjax.cli.data import build as build_command
from fcnjax.config import Scope, default_config, differences, keys_with, load_config
from fcnjax.data.loading import cache, pipeline
from fcnjax.data.loading.eval_batches import eval_batches
from fcnjax.data.loading.skipping import SkippingSource, UnreadableExample
from fcnjax.errors import UserError
from fcnjax.evaluation import Evaluator, write_results
from fcnjax.models import build_model
from fcnjax.parallel.mesh import make_mesh
from fcnjax.training.state import init_variables
from fcnjax.training.workdir import RESUMABLE_KEYS
from fcnjax.validate.check import check

COUNT = 12
SIDE = 16
CLASSES = {"mask_values": (0, 1), "class_names": ("background", "foreground")}


class Numbered:
    """Examples that encode their index; some cannot be read, or not even their size."""

    class_names = ("ground", "thing")

    def __init__(self, count=COUNT, broken=(), headless=()):
        self.count = count
        self.broken, self.headless = {*broken, *headless}, set(headless)

    def __len__(self):
        return self.count

    def size(self, index):
        if index in self.headless:
            raise UserError(f"p{index}.png: cannot be read: no header")
        return (SIDE, SIDE + index)

    def __getitem__(self, index):
        if index in self.broken:
            raise UserError(f"p{index}.png: cannot be read")
        label = np.full((SIDE, SIDE + index), index % 2, np.uint8)
        image = np.full((*label.shape, 3), index, np.uint8)
        return {"image": image, "label": label, "name": f"p{index}"}


def write(root, broken=(), headless=(), start=0):
    """Write splits train and val; image i has the value start + i, and some are truncated.

    Cut off in the pixels, or, headless, before the size.
    """
    for split, kind in itertools.product(("train", "val"), ("images", "masks")):
        folder = root / kind / split
        folder.mkdir(parents=True)
        for i in range(COUNT):
            pixels = np.full((SIDE, SIDE, 3), start + i, np.uint8)
            if kind == "masks":
                pixels = np.repeat([[0], [1]], SIDE // 2, 0).repeat(SIDE, 1).astype(np.uint8)
            path = folder / f"p{i:02}.png"
            Image.fromarray(pixels).save(path)
            if kind == "images" and i in (*broken, *headless):
                path.write_bytes(path.read_bytes()[: 12 if i in headless else 45])
    return root


def config_of(root, **more):
    config = default_config()
    set_data(config, root=str(root), on_error="skip", skip_most=0.5, **more)
    config.train.batch_size, config.eval.batch_size, config.eval.bucket = 4, 4, 16
    config.augment.crop = (8, 8)
    return config


def quiet(line):
    """Ignore a line; picklable."""


def names(source):
    return [int(source[i]["name"].removeprefix("p")) for i in range(len(source))]


def take(count, batches):
    with contextlib.closing(batches):
        return list(itertools.islice(batches, count))


def test_next_row_replaces_an_unreadable_one():
    source = SkippingSource(Numbered(8, broken=(2, 3, 7)), 0.9, True, quiet)
    expected = [0, 1, 4, 4, 4, 5, 6, 0]
    assert names(source) == expected
    # It depends on the row only: another order of reading gives the same.
    assert [source[i]["image"][0, 0, 0] for i in reversed(range(8))] == expected[::-1]
    assert source.size(1) == (SIDE, SIDE + 1)
    headless = SkippingSource(Numbered(8, headless=(2,)), 0.9, True, quiet)
    assert headless.size(2) == headless[2]["label"].shape == (SIDE, SIDE + 3)
    with pytest.raises(IndexError):
        source[8]


def test_evaluation_leaves_out_unreadable_rows():
    source = SkippingSource(Numbered(5, broken=(2,)), 0.9, False, quiet)
    with pytest.raises(UnreadableExample, match=r"^p2\.png: cannot be read$"):
        source[2]
    assert source[3]["name"] == "p3"


def test_each_failure_is_reported_once():
    said = []
    source = SkippingSource(Numbered(8, broken=(2, 5)), 0.9, True, said.append)
    for _ in range(3):
        names(source)
    assert said == [f"warning: skipped: p{i}.png: cannot be read" for i in (2, 5)]


def test_copies_share_their_counts(capsys):
    source = SkippingSource(Numbered(20, broken=(1, 5, 9)), 0.25, True)
    first, second, third = (pickle.loads(pickle.dumps(source)) for _ in range(3))
    assert first[1]["name"] == second[1]["name"] == "p2"
    assert second[5]["name"] == first[5]["name"] == "p6"
    err = capsys.readouterr().err
    assert err == "".join(f"warning: skipped: p{i}.png: cannot be read\n" for i in (1, 5))
    with pytest.raises(UserError, match=r"3 of 5 examples tried.*: p1\.png, p5\.png, p9\.png;"):
        third[9]


def test_too_many_failures_raise():
    def read_all(*broken):
        source = SkippingSource(Numbered(40, broken=broken), 0.1, False, quiet)
        for i in range(40):
            with contextlib.suppress(UnreadableExample):
                source[i]

    read_all(10, 20, 30)  # 3 of 31 is less than a tenth
    with pytest.raises(UserError, match=r"^config\.data\.loading\.skip_most: 3 of 29 ") as raised:
        read_all(10, 20, 28)
    assert "\n" not in str(raised.value)


def test_two_failures_never_raise():
    source = SkippingSource(Numbered(4, broken=(0, 1)), 0.0, True, quiet)
    assert names(source) == [2, 2, 2, 3]
    with pytest.raises(UserError, match="3 of 3 examples tried") as raised:
        names(SkippingSource(Numbered(4, broken=(0, 1, 2)), 0.0, True, quiet))
    for word in ("p0.png, p1.png, p2.png", "the first: p0.png: cannot be read", "more than 0"):
        assert word in str(raised.value)


def test_no_readable_example_raises():
    with pytest.raises(UserError, match=r"p1\.png.*no other example"):
        SkippingSource(Numbered(2, broken=(0, 1)), 1.0, True, quiet)[0]
    source = SkippingSource(Numbered(2, broken=(0, 1)), 1.0, False, quiet)
    with pytest.raises(UserError, match=r"p1\.png: cannot be read"):
        take(1, eval_batches(source, config_of("")))


def test_copy_outlives_its_original():
    source = SkippingSource(Numbered(5, broken=(2,)), 0.9, True, quiet)
    used, fresh = (pickle.loads(pickle.dumps(source)) for _ in range(2))
    used[0]
    folder = source._skip_log._folder
    del source
    assert not folder.exists()
    assert names(used) == names(fresh) == [0, 1, 3, 3, 4]


@pytest.mark.parametrize(("key", "value"), [("on_error", "ignore"), ("skip_most", 1.5)])
def test_values_are_checked(tmp_path, key, value):
    config = config_of(write(tmp_path))
    config.data.loading[key] = value
    with pytest.raises(UserError, match=rf"config\.data\.loading\.{key}: .*{value}"):
        data.resolve(config)


def test_raise_names_the_file(tmp_path):
    config, _ = data.resolve(config_of(write(tmp_path, broken=(3,))))
    config.data.loading.on_error = "raise"
    for part, split in (("train", "train"), ("eval", "val")):
        with pytest.raises(UserError, match=rf"images/{split}/p03\.png"):
            names(data.open_source(config, part))


def test_config_with_broken_files_is_resolved(tmp_path):
    write(tmp_path, broken=(0,), headless=(5,))
    for i in (0, 7):
        path = tmp_path / f"masks/train/p{i:02}.png"
        path.write_bytes(path.read_bytes()[:40])
    config, notes = data.resolve(config_of(tmp_path))
    assert config.data.labels.mask_values == (0, 1)
    assert "12 images to train on" in notes[0]
    assert names(data.open_source(config, "train")) == [1, 1, 2, 3, 4, 6, 6, 8, 8, 9, 10, 11]
    config.data.loading.on_error = "raise"
    with pytest.raises(UserError, match=r"p0\d\.png"):
        data.resolve(config)


def test_workers_report_each_failure_once(tmp_path, capfd):
    config, _ = data.resolve(config_of(write(tmp_path, broken=(3, 8))))
    alone = take(9, pipeline.train_batches(data.open_source(config, "train"), config, 0))
    assert capfd.readouterr().err.count("warning: skipped:") == 2
    config.data.loading.workers = 2
    shared = take(9, pipeline.train_batches(data.open_source(config, "train"), config, 0))
    assert capfd.readouterr().err.count("warning: skipped:") == 2
    seen = set()
    for one, other in zip(alone, shared, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])
        seen |= set(one["image"][:, 4, 4, 0].tolist())
    assert seen == set(range(COUNT)) - {3, 8}


def test_too_many_failures_in_a_worker_raise(tmp_path):
    config = config_of(write(tmp_path, broken=range(6)), workers=2)
    config.data.loading.skip_most = 0.1
    config, _ = data.resolve(config)
    with pytest.raises(
        UserError, match=r"config\.data\.loading\.skip_most: \d of \d+ examples"
    ) as raised:
        take(30, pipeline.train_batches(data.open_source(config, "train"), config, 0))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("broken", "headless"), [((3, 8), ()), ((), (0, 5)), ((0,), (11,))])
@pytest.mark.parametrize("processes", [1, 2])
def test_eval_batches_have_each_readable_example_once(broken, headless, processes):
    source = SkippingSource(Numbered(COUNT, broken, headless), 0.9, False, quiet)
    found, counts = [], np.zeros(2, int)
    for index in range(processes):
        place = (index, processes)
        for batch in take(99, eval_batches(source, config_of(""), *place)):
            np.testing.assert_array_equal(batch["valid"], batch["index"] >= 0)
            assert (batch["label"][~batch["valid"]] == 255).all()
            for row in np.flatnonzero(batch["valid"]):
                assert batch["image"][row, 0, 0, 0] == batch["index"][row]
            found += batch["index"][batch["valid"]].tolist()
            counts += np.bincount(batch["label"].ravel(), minlength=256)[:2]
    whole = [i for i in range(COUNT) if i not in (*broken, *headless)]
    assert sorted(found) == whole
    expected = [sum(SIDE * (SIDE + i) for i in whole if i % 2 == value) for value in (0, 1)]
    assert counts.tolist() == expected


def test_values_may_change_on_resume(tmp_path):
    one, other = config_of(tmp_path), config_of(tmp_path)
    set_data(other, on_error="raise", skip_most=0.2)
    assert differences(one, other, RESUMABLE_KEYS) == []
    loading = {"data.loading.on_error", "data.loading.skip_most"}
    assert loading <= set(keys_with(Scope.EVALUATE))


def test_caches_contain_equal_examples(tmp_path, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    config, _ = data.resolve(config_of(write(tmp_path / "set", broken=(3,), headless=(8, 11))))
    (tmp_path / "set/images/train/p08.png").unlink()
    (tmp_path / "set/images/train/p08.png").symlink_to("nowhere")
    expected = [0, 1, 2, 4, 4, 5, 6, 7, 9, 9, 10, 0]
    for kept in (None, "host", "disk", "disk"):
        config.data.loading.cache = kept
        assert names(data.open_source(config, "train")) == expected
        held_out = data.open_source(config, "eval")
        batches = take(99, eval_batches(held_out, config))
        assert sum(int(batch["valid"].sum()) for batch in batches) == COUNT - 3
    config.data.loading.cache = "device"
    whole = pipeline.load_all(data.open_source(config, "train"))
    assert whole["image"][:, 0, 0, 0].tolist() == expected
    set_data(config, cache="disk", on_error="raise")
    with pytest.raises(UserError, match=r"p03\.png"):
        data.open_source(config, "train")


def test_build_stores_errors_and_verify_retries(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "PER_SHARD", 4)
    options = {"skip": True, "show": False}
    shards = cache.build_cache(Numbered(10, broken=(6,)), tmp_path / "set", **options)
    assert shards.failed == ["p6.png: cannot be read"]
    for read in (shards.size, shards.__getitem__):
        with pytest.raises(UserError, match=r"^p6\.png: cannot be read$"):
            read(6)
    assert shards[7]["name"] == "p7"
    assert cache.build_cache(Numbered(10), tmp_path / "set", **options).failed == shards.failed
    mended = cache.build_cache(
        Numbered(10, broken=(0, 9)), tmp_path / "set", verify=True, **options
    )
    # The other shards are complete, and not decoded again.
    assert (mended.failed, names(mended)) == ([], list(range(10)))


def test_data_build_reports_failures(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    root = write(tmp_path / "set", broken=(3,))
    assert build_command.main([str(root), "--config.data.loading.on_error=skip"]) == 0
    out, err = capsys.readouterr()
    assert "train: 12 examples" in out
    assert err.count("warning: skipped:") == 2
    for split in ("train", "val"):
        assert str(root / f"images/{split}/p03.png") in err


def test_mixture_replaces_within_each_dataset(tmp_path):
    one = write(tmp_path / "one", broken=(COUNT - 1,))
    other = write(tmp_path / "other", broken=(0,), start=100)
    config, _ = data.resolve(config_of(one, mix=((f"folder:root={other}", 1.0),), **CLASSES))
    source = data.open_source(config, "train")
    found = [int(source[i]["image"][0, 0, 0]) for i in (COUNT - 1, COUNT)]
    assert found == [0, 101]


def test_evaluation_reports_the_number_left_out(tmp_path, tiny_options, capsys):
    config = load_config(f"folder:root={write(tmp_path / 'set', (3,), (8,))}", tiny_options)
    set_data(config, on_error="skip", skip_most=0.5, mask_values=(0, 1))
    config.model.widths, config.mesh.data = (8, 16), 1
    config, _ = data.resolve(config)
    model = build_model(config)
    variables = jax.jit(lambda: init_variables(model, config))()
    evaluator = Evaluator(model, config, make_mesh(config), data.open_source(config, "eval"))
    results = evaluator(variables)
    assert results.left_out == 2
    assert results.confusion.sum(1).tolist() == [(COUNT - 2) * SIDE * SIDE // 2] * 2
    assert "2 of 12 evaluation examples could not be read" in capsys.readouterr().err
    write_results(tmp_path / "out", config, results, 0)
    assert json.loads((tmp_path / "out/metrics.json").read_text())["left_out"] == 2
    # The dataset without these two files has the same scores.
    for kind, i in itertools.product(("images", "masks"), (3, 8)):
        (tmp_path / f"set/{kind}/val/p{i:02}.png").unlink()
    evaluator = Evaluator(model, config, make_mesh(config), data.open_source(config, "eval"))
    without = evaluator(variables)
    assert without.left_out == 0
    np.testing.assert_array_equal(without.confusion, results.confusion)


def test_data_check_reports_all_failures(tmp_path):
    config = config_of(write(tmp_path, broken=(3,)))
    findings = [f for f in check(config).findings if f.kind == "unreadable files"]
    assert [f.severity for f in findings] == ["warning"]
    assert findings[0].text.startswith("2 of 24 examples")
    config.data.loading.on_error, config.data.labels.mask_values = "raise", (0, 1)
    findings = [f for f in check(config).findings if f.kind == "unreadable files"]
    assert [f.severity for f in findings] == ["error"]
