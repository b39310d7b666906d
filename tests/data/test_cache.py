import pickle

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax import data
from fcnjax.config import default_config
from fcnjax.data.loading import cache
from fcnjax.data.loading.pipeline import train_batches
from fcnjax.errors import UserError


class Numbered:
    """Examples that encode their index and count their reads."""

    class_names = ("ground", "thing")

    def __init__(self, count, broken=()):
        self.count = count
        self.broken = set(broken)
        self.read = []

    def __len__(self):
        return self.count

    def size(self, index):
        return (3 + index % 4, 5)

    def __getitem__(self, index):
        if index in self.broken:
            raise UserError(f"picture{index}.png: cannot be read")
        self.read.append(index)
        height, width = self.size(index)
        dtype = np.uint16 if index % 2 else np.uint8
        return {
            "image": np.full((height, width, 3), index, dtype),
            "label": np.full((height, width), index % 2, np.uint8),
            "name": f"picture{index}",
        }


def assert_same(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])
        if key != "name":
            assert one[key].dtype == other[key].dtype


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(cache, "PER_SHARD", 4)


def build_cache(source, folder, **options):
    return cache.build_cache(source, folder, show=False, **options)


def test_shards_contain_the_examples(tmp_path):
    source = Numbered(10)
    shards = build_cache(source, tmp_path / "set")
    assert sorted(source.read) == list(range(10))
    assert len(shards) == 10
    assert shards.class_names == source.class_names
    copy = pickle.loads(pickle.dumps(shards))
    for index in (9, 0, 4, 3):
        assert_same(copy[index], Numbered(10)[index])
        assert copy.size(index) == source.size(index)
    crop = copy[0]["image"][1:3, 2:4]
    crop[:] = 7  # writable, as a decoded array is
    assert (copy[0]["image"][:, :] == 0).all()


def test_interrupted_build_continues(tmp_path):
    with pytest.raises(UserError, match=r"picture6\.png: cannot be read"):
        build_cache(Numbered(10, broken=[6]), tmp_path / "set")
    assert not (tmp_path / "set" / cache.INDEX).exists()
    with pytest.raises(UserError, match=r"index\.json"):
        cache.ShardCache(tmp_path / "set")
    source = Numbered(10)
    shards = build_cache(source, tmp_path / "set")
    assert sorted(source.read) == list(range(4, 10)), "the whole shard stays"
    assert_same(shards[6], Numbered(10)[6])
    again = Numbered(10)
    build_cache(again, tmp_path / "set")
    assert not again.read
    assert not [path for path in (tmp_path / "set").iterdir() if path.name.startswith(".")]


def test_damaged_shard_is_detected_and_rebuilt(tmp_path):
    build_cache(Numbered(10), tmp_path / "set")
    path = cache.shard_path(tmp_path / "set", 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    source = Numbered(10)
    shards = build_cache(source, tmp_path / "set", verify=True)
    assert sorted(source.read) == [4, 5, 6, 7]
    assert_same(shards[5], Numbered(10)[5])
    path.write_bytes(b"no record")
    with pytest.raises(UserError, match=r"shard-00001\.arrayrecord: is damaged"):
        cache.ShardCache(tmp_path / "set")[5]


def test_memory_cache_reads_each_example_once():
    source = Numbered(5)
    kept = cache.MemoryCache(source)
    for index in (3, 1, 3, 1):
        assert_same(kept[index], Numbered(5)[index])
    assert source.read == [3, 1]


@pytest.fixture
def folder(tmp_path, make_folder, monkeypatch):
    monkeypatch.setenv("FCNJAX_CACHE", str(tmp_path / "cache"))
    return make_folder(tmp_path / "shapes", count=6)


def config_of(root, **keys):
    config = default_config()
    set_data(config, {"root": str(root), **keys})
    return data.resolve(config)[0]


def test_folder_is_decoded_again_when_it_changes(folder, tmp_path):
    plain = data.open_source(config_of(folder), "train")
    config = config_of(folder, cache="disk")
    kept = data.open_source(config, "train")
    assert isinstance(kept, cache.ShardCache)
    for index in range(len(plain)):
        assert_same(kept[index], plain[index])
    made = set((tmp_path / "cache" / "decoded").iterdir())
    data.open_source(config, "train")
    assert set((tmp_path / "cache" / "decoded").iterdir()) == made
    name = plain[0]["name"]
    Image.fromarray(np.zeros_like(plain[0]["label"])).save(folder / f"masks/{name}.png")
    assert not np.asarray(data.open_source(config, "train")[0]["label"]).any()


@pytest.mark.parametrize("crops", [{}, {"class_crop": 0.7}], ids=["anywhere", "by class"])
def test_training_batches_from_the_cache_are_equal(folder, crops):
    seen = {}
    for kept in (None, "host", "disk"):
        config = config_of(folder, cache=kept, **crops)
        config.augment.crop, config.train.batch_size = (40, 150), 3  # wider than the image
        batches = train_batches(data.open_source(config, "train"), config, 1)
        seen[kept] = [next(batches) for _ in range(4)]
        batches.close()
    for kept in ("host", "disk"):
        for batch, plain in zip(seen[kept], seen[None], strict=True):
            for key in plain:
                np.testing.assert_array_equal(batch[key], plain[key])
                assert batch[key].dtype == plain[key].dtype


def test_other_classes_use_another_cache(folder):
    one = config_of(folder, cache="disk")
    other = config_of(folder, cache="disk", mask_values=(2, 1, 0), class_names=("a", "b", "c"))
    labels = [data.open_source(config, "train")[0]["label"] for config in (one, other)]
    np.testing.assert_array_equal(labels[0], 2 - np.asarray(labels[1]))
