"""Names in lists, annotations and archives that lead outside their folder."""

import base64
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
from data_keys import set_data
from PIL import Image

from fcnjax.config import default_config
from fcnjax.data import open_source, resolve
from fcnjax.data.sources.samples.stare import SAMPLE as STARE
from fcnjax.data.splits.lists import listed_pairs, read_names
from fcnjax.errors import UserError
from fcnjax.io.atomic_files import inside

SIZE = (6, 8)


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(SIZE, value, np.uint8)
    pixels[:3] = 1 - value % 2
    Image.fromarray(pixels).save(path)


def assert_error(read, *words):
    with pytest.raises(UserError) as raised:
        read()
    message = str(raised.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def config_of(source, root, **data):
    config = default_config()
    set_data(config, source=source, root=str(root), **data)
    return config


def read_all(config):
    config, _ = resolve(config)
    return [open_source(config, part)[0] for part in ("train", "eval")]


@pytest.fixture
def places(tmp_path):
    """Write a folder `set` with `in.png`, `outside.png` beside it, and all kinds of links."""
    folder = tmp_path / "set"
    for path in (folder / "in.png", folder / "deep/in.png", tmp_path / "outside.png"):
        picture(path)
    (folder / "link_in.png").symlink_to("in.png")
    (folder / "link_out.png").symlink_to("../outside.png")
    (folder / "folder_out").symlink_to("..")
    (folder / "loop.png").symlink_to("loop.png")
    (tmp_path / "set2").mkdir()
    (tmp_path / "alias").symlink_to("set")
    return folder


@pytest.mark.parametrize(
    "name",
    [
        "in.png",
        "deep/in.png",
        "deep/../in.png",
        "link_in.png",
        "link_out.png",  # links are trusted
        "folder_out/outside.png",
        "folder_out/not_there.png",
        "not/there.png",
        "in.png/x",
        "./in.png",
        "",
    ],
)
def test_inside(places, name):
    assert inside(places, name, "list") == places / name
    alias = places.parent / "alias"
    assert inside(alias, name, "list") == alias / name
    # An absolute path by the name of the folder or of the link leads to the same file.
    assert inside(alias, places / name, "list") == places / name


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "..",
        "deep/../..",
        "deep/../../outside.png",
        "../set2/x.png",
        "not_there/../../outside.png",
        "/etc/passwd",
        "/",
        "in\0.png",
        "x" * 300,
        "x" * 300 + "/in.png",
    ],
)
def test_outside(places, name):
    assert_error(lambda: inside(places, name, "list.csv, line 3"), "list.csv, line 3", str(places))


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd"])
@pytest.mark.parametrize("column", ["image", "mask"])
def test_listing(places, name, column):
    row = {"image": "in.png", "mask": "deep/in.png"}
    rows = [row, {**row, column: name}]
    (places / "list.json").write_text(json.dumps(rows))
    config = config_of("listing", places, annotations="list.json")
    assert_error(
        lambda: read_all(config), "list.json, item 2", repr(name), "not a path inside the folder"
    )
    lines = ["image,mask", *(f"{row['image']},{row['mask']}" for row in rows)]
    (places / "list.csv").write_text("\n".join(lines))
    # Without a root, the folder of the list is the root.
    config = config_of("listing", "", annotations=str(places / "list.csv"))
    assert_error(lambda: read_all(config), "list.csv, line 3", repr(name))


def test_listing_takes_absolute_paths_in_the_root(places):
    rows = [{"image": str(places / "in.png"), "mask": str(places / "deep/in.png")}] * 2
    (places / "list.json").write_text(json.dumps(rows))
    config = config_of("listing", places, annotations="list.json", mask_values=(0, 1))
    assert [example["name"] for example in read_all(config)] == ["in", "in"]


@pytest.mark.parametrize("name", ["../outside.png", "/etc/passwd"])
def test_coco(places, name):
    images = [
        {"id": i, "file_name": n, "height": 6, "width": 8} for i, n in enumerate(("in.png", name))
    ]
    polygon = [0, 0, 3, 0, 3, 3, 0, 3]
    content = {
        "images": images,
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"image_id": 0, "category_id": 1, "segmentation": [polygon]}],
    }
    (places / "coco.json").write_text(json.dumps(content))
    config = config_of("coco", places, annotations="coco.json", images=".")
    assert_error(lambda: resolve(config), "coco.json", repr(name), "not a path inside the folder")
    # The same holds for a resolved config, as in a workdir.
    images[1]["file_name"] = "deep/in.png"
    (places / "coco.json").write_text(json.dumps(content))
    config, _ = resolve(config)
    images[1]["file_name"] = name
    (places / "coco.json").write_text(json.dumps(content, indent=1))
    sources = [open_source(config, part) for part in ("train", "eval")]
    assert_error(lambda: [source[0] for source in sources], "coco.json", repr(name))


def labelme(folder, image, **more):
    folder.mkdir(exist_ok=True)
    shape = {"label": "cat", "shape_type": "rectangle", "points": [[1, 1], [3, 3]]}
    for stem in "ab":
        content = {"shapes": [shape], "imagePath": image.format(stem), **more}
        (folder / f"{stem}.json").write_text(json.dumps(content))


def test_labelme_images_anywhere_in_the_root(tmp_path):
    for number, stem in enumerate("ab"):
        picture(tmp_path / f"images/{stem}.png", number)
    for image in ("../images/{}.png", "..\\images\\{}.png", f"{tmp_path}/images/{{}}.png"):
        labelme(tmp_path / "json", image)
        examples = read_all(config_of("labelme", tmp_path, annotations="json"))
        assert sorted(example["name"] for example in examples) == ["a", "b"]
        assert all(example["label"].sum() == 9 for example in examples)
    config = config_of("labelme", tmp_path / "json")
    assert_error(
        lambda: resolve(config), "json: 'imagePath'", "not a path inside", "config.data.annotations"
    )
    config = config_of("labelme", tmp_path / "json", annotations="..")
    assert_error(
        lambda: resolve(config), "config.data.annotations: '..'", "not a path inside the folder"
    )


def test_labelme_uses_embedded_data_for_foreign_paths(tmp_path):
    picture(tmp_path / "x.png")
    data = base64.b64encode((tmp_path / "x.png").read_bytes()).decode()
    labelme(tmp_path / "json", "../x.png", imageData=data)
    picture(tmp_path / "x.png", 200)
    for example in read_all(config_of("labelme", tmp_path / "json")):
        assert example["image"].max() < 200


def test_lists_of_names(places):
    for name in ("../outside.png", "/etc/passwd", "deep/../../outside"):
        (places / "train.txt").write_text(f"in\n{name}\n")
        assert_error(
            lambda: read_names(places / "train.txt"), "train.txt, line 2", "not a path inside"
        )
    (places / "train.txt").write_text(f"in\n{places}/in.png\n")
    assert [name for _, name in read_names(places / "train.txt")] == ["in", f"{places}/in.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside", ("'../outside'", "not a path inside the folder")),
        ("deep/gone", ("no image gone.png",)),
    ],
)
def test_lists_of_pairs(places, name, words):
    (places / "train.txt").write_text(f"in\n{name}\n")
    read = (places / "train.txt", places, places, ".png", ".png")
    assert_error(lambda: listed_pairs(*read), "train.txt, line 2", *words)


def test_list_of_a_folder(places):
    for kind, stem in ((kind, stem) for kind in ("images", "masks") for stem in "ab"):
        picture(places / f"{kind}/{stem}.png")
    (places / "train.txt").write_text("a\n")
    (places / "val.txt").write_text("../../b.png\n")
    assert_error(
        lambda: resolve(config_of("folder", places)),
        "val.txt, line 1",
        "not a path inside the folder",
    )


@pytest.mark.parametrize("name", ["stare-images/../../evil.ppm", "labels-ah/../../../evil.ppm"])
def test_archive_with_a_member_outside(tmp_path, name):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr(name, b"P6")
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("x/test-database.zip")
        member.size = len(inner.getvalue())
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    folder = tmp_path / "deep/images"
    folder.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    read = (tmp_path / "package.tar.gz", folder)
    assert_error(lambda: STARE.unpack(*read), "package.tar.gz, test-database.zip", name)
    assert set(tmp_path.rglob("*")) == before
