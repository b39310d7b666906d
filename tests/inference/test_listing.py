"""Listings of files, folders, globs, list files and Parquet records."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli
from fcnjax.errors import UserError
from fcnjax.inference.inputs.arguments import find_inputs
from fcnjax.inference.inputs.fetch import as_file, read_bytes
from fcnjax.inference.inputs.listing import list_by_stem, list_files, read_listing
from fcnjax.inference.media.media_types import VIDEO, VOLUME, detect_media_type, reject_media

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def images(tmp_path):
    """Five images in two folders, and the content of their files."""
    rng = np.random.default_rng(0)
    files = {}
    for name in ("one/a.png", "one/b.png", "two/a.png", "two/c.png", "two/d.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8)).save(path)
        files[name] = path.read_bytes()
    return files


def contents(listing):
    return [
        item.content if item.content is not None else read_bytes(item.source)
        for item in listing.items()
    ]


def write_parquet(path, rows, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return str(path)


def test_files_folders_and_globs(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listing = list_files(["photos/one", "photos/two/*.png", "photos/one/a.png"])
    assert listing.ids == ["one/a", "one/b", "two/a", "two/c", "two/d"]
    assert listing.sources[0] == str(tmp_path / "photos/one/a.png")
    assert contents(listing) == list(images.values())
    assert list_files(["photos/one"]).ids == ["a", "b"]
    assert list_files(["s3://bucket/x.png"]).sources == ["s3://bucket/x.png"]
    with pytest.raises(UserError, match="nowhere: no image there"):
        list_files(["photos/one", "nowhere"])


def test_folder_includes_videos_and_volumes(tmp_path):
    magic = b"\0" * 128 + b"DICM"
    files = {
        **dict.fromkeys(("clip.jpg", "clip.MP4", "eye.png", "scan.nii.gz", "scan.png"), b"x"),
        **dict.fromkeys(("notes.txt", "deep/er/IM1", "other/a.png", "other/b.txt"), b"x"),
        **dict.fromkeys(("patient.1/IM1", "patient.1/IM2", "patient.2/a.dcm"), magic),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    expected = {
        "patient.1": "patient.1",
        "patient.2": "patient.2",
        "clip.MP4": "clip.MP4",  # the image has the short name
        "clip.jpg": "clip",
        "eye.png": "eye",
        "other/a.png": "other/a",
        "scan.nii.gz": "scan.nii.gz",
        "scan.png": "scan",
    }
    inputs = find_inputs([str(tmp_path)], "")
    assert list(inputs.paths.values()) == list(expected)
    listing = list_by_stem(inputs)
    assert list(listing.ids) == list(expected.values())
    assert listing.sources == [str(tmp_path / name) for name in expected]
    forms = [detect_media_type(source) for source in listing.sources]
    assert forms == [VOLUME, VOLUME, VIDEO, None, None, None, VOLUME, None]
    # A series is one input by its folder, and several by its files.
    series = find_inputs([str(tmp_path / "patient.1")], "").paths
    assert series == {tmp_path / "patient.1": "patient.1"}
    assert len(find_inputs([str(tmp_path / "patient.1" / "*")], "").paths) == 2
    # A glob includes folders with a series, and no others.
    names = list(find_inputs([str(tmp_path / "*")], "").paths.values())
    assert names == sorted([*expected.keys() - {"other/a.png"}, "notes.txt"])
    with pytest.raises(UserError, match=r"patient.1: is a volume, .* such as DIR/\*.png"):
        reject_media(list_files([str(tmp_path)]).sources)
    (tmp_path / "eye.tif").write_bytes(b"x")
    with pytest.raises(UserError, match=r"eye\.tif: would overwrite the output of .*eye\.png"):
        list_by_stem(find_inputs([str(tmp_path)], ""))


def test_folder_includes_subfolders_but_no_hidden_files_and_outputs(tmp_path):
    kept = ("b.png", "p1/a.png", "p1/deep/b.JPG", "p1/x_mask.png")
    left_out = ("._b.png", ".thumbs/b.png", "__MACOSX/b.png", "@eaDir/b.png", "out/b_mask.png")
    outputs = ("b_mask.png", "b_overlay.png", "p1/deep/b_confidence.png", "b_disagreement.png")
    for name in (*kept, *left_out, *outputs):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "p1/loop").symlink_to(tmp_path)
    inputs = find_inputs([str(tmp_path)], str(tmp_path / "out"))
    assert list(inputs.paths.values()) == list(kept)  # there is no image p1/x
    (note,) = inputs.notes
    assert note.endswith("prediction: b_disagreement.png, b_mask.png, b_overlay.png and 1 more")
    listing = list_by_stem(inputs)
    assert list(listing.ids) == ["b", "p1/a", "p1/deep/b", "p1/x_mask"]
    # Named files are included, unless this run writes them.
    files = [str(tmp_path / name) for name in ("b.png", "b_mask.png")]
    assert len(find_inputs(files, str(tmp_path / "out")).paths) == 2
    assert list(find_inputs(files, str(tmp_path)).paths.values()) == ["b.png"]


@pytest.mark.parametrize("kind", ["txt", "csv", "json", "jsonl", "objects.json", "objects.jsonl"])
def test_lists_of_paths(images, tmp_path, kind):
    rows = [f"photos/{name}" for name in images]
    # A path is relative to the list, absolute, or a URI. Duplicates are dropped.
    rows[1], rows[2] = str(tmp_path / rows[1]), f"file://{tmp_path / rows[2]}"
    rows.append(rows[0])
    objects = [{"image": row, "more": i} for i, row in enumerate(rows)]
    text = {
        "txt": "\ufeff" + "\n\n".join(rows),
        "csv": "more,image\n" + "".join(f"{i},{row}\n" for i, row in enumerate(rows)),
        "json": json.dumps(rows),
        "jsonl": "\n".join(map(json.dumps, rows)),
        "objects.json": json.dumps(objects),
        "objects.jsonl": "\n".join(map(json.dumps, objects)),
    }[kind]
    (tmp_path / f"list.{kind}").write_text(text, encoding="utf-8")
    listing = read_listing(str(tmp_path / f"list.{kind}"))
    assert listing.ids == ["one/a", "one/b", "two/a", "two/c", "two/d"]
    assert contents(listing) == list(images.values())


def test_id_column(images, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("id,where\n7,photos/one/a.png\n../8,photos/one/a.png\n")
    listing = read_listing(str(path), "where")
    assert listing.ids == ["7", "%2E%2E/8"]
    path.write_text("key,id,image\nu,1,photos/one/a.png\nv,1,photos/one/b.png\n")
    assert read_listing(str(path), id_column="key").ids == ["u", "v"]
    with pytest.raises(UserError, match=r"b\.png: its outputs would have the name of .*a\.png's"):
        read_listing(str(path))


def test_parquet_of_paths(images, tmp_path):
    rows = [{"image": f"photos/{name}", "id": i} for i, name in enumerate(images)]
    path = write_parquet(tmp_path / "list.parquet", rows)
    listing = read_listing(path)
    assert listing.ids == ["0", "1", "2", "3", "4"]
    assert contents(listing) == list(images.values())
    assert not listing.groups


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_of_images(images, tmp_path, struct):
    rows = [
        {"pixels": {"bytes": content, "path": name} if struct else content, "key": name}
        for name, content in images.items()
    ]
    folder = tmp_path / "set"
    write_parquet(folder / "part-0.parquet", rows[:3], row_group_size=2)
    write_parquet(folder / "more" / "part-1.parquet", rows[3:])
    listing = read_listing(str(folder), "pixels")
    # Files are sorted by name.
    expected = [*list(images.values())[3:], *list(images.values())[:3]]
    assert contents(listing) == expected
    assert listing.ids == [
        *(f"more/part-1/{i:08}" for i in range(2)),
        *(f"part-0/{i:08}" for i in range(3)),
    ]
    assert [group.rows for group in listing.groups] == [2, 2, 1]
    assert listing.sources[-1] == f"{folder}/part-0.parquet#2"
    named = read_listing(str(folder), "pixels", "key")
    assert named.ids == [*list(images)[3:], *list(images)[:3]]
    assert contents(named) == expected
    assert named.sha256() != listing.sha256()
    assert read_listing(str(folder), "pixels").sha256() == listing.sha256()


def test_records_without_image_and_damaged_row_groups_are_errors(images, tmp_path):
    content = next(iter(images.values()))
    rows = [{"image": content}, {"image": None}, {"image": b""}, {"image": content}]
    path = write_parquet(tmp_path / "set.parquet", rows, row_group_size=2, compression="none")
    items = list(read_listing(path).items())
    assert [item.content for item in items] == [content, None, None, content]
    assert [item.error for item in items] == [
        None,
        f"{path}#1: holds no image",
        f"{path}#2: holds no image",
        None,
    ]
    # A damaged row group affects only its own rows.
    listing = read_listing(path)
    damaged_content = bytearray((tmp_path / "set.parquet").read_bytes())
    start = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    damaged_content[start : start + 20] = b"\xff" * 20
    (tmp_path / "set.parquet").write_bytes(damaged_content)
    damaged = list(listing.items())
    assert damaged[:2] == items[:2]
    assert [item.index for item in damaged] == [0, 1, 2, 3]
    for item in damaged[2:]:
        assert item.content is None
        assert item.error.startswith(f"{path}: cannot be read: ")
        assert "\n" not in item.error


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.txt", None, "none.txt: no such file"),
        ("empty.txt", "\n\n", "empty.txt: lists no image"),
        ("list.xlsx", "x", "unknown '.xlsx'"),
        ("list.csv", "path\nx.png\n", "line 2: has no 'image'; has 'path'"),
        ("list.csv", "image,id\nx.png\n", "line 2: has 1 cells for 2 columns"),
        ("list.csv", "image,id\nx.png,\n", "line 2: 'id' is ''; valid: a text"),
        ("list.json", "{}", "is not a list of paths"),
        ("list.json", "[3]", "item 1: is neither a path nor an object"),
        ("list.jsonl", '"a.png"\n{"image": ', "line 2: is not JSON"),
        ("list.parquet", "PAR1", "list.parquet: cannot be read: "),
    ],
)
def test_invalid_lists_are_one_line_errors(tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        read_listing(str(tmp_path / name))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_and_mistyped_columns_of_parquet(tmp_path):
    path = write_parquet(tmp_path / "set.parquet", [{"image": 3, "id": None, "text": "x.png"}])
    for column, id_column, words in (
        ("pixels", None, "has no column 'pixels'; has image, id, text"),
        ("text", "key", "has no column 'key'"),
        ("image", "text", "'image' is of type int64; valid: image files"),
        ("text", None, "row 0: 'id' is None; valid: a text"),
    ):
        with pytest.raises(UserError, match=words):
            read_listing(path, column, id_column)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no \.parquet file"):
        read_listing(str(tmp_path / "empty"))


def test_uris(images, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    content = images["one/a.png"]
    with fsspec.open("memory://pictures/a b.png", "wb") as file:
        file.write(content)
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x/a.png", content)
    for source in (
        "memory://pictures/a b.png",
        f"zip://x/a.png::file://{archive}",
        f"file://{tmp_path}/photos/one/a.png",
    ):
        assert read_bytes(source) == content
    assert str(as_file("memory://pictures/a b.png")) == "memory://pictures/a b.png"
    for source, words in (
        ("memory://pictures/none.png", "no such file"),
        (f"zip://y.png::file://{archive}", "no such file|cannot be read"),
        ("nothing://x/y.png", "cannot be read: Protocol not known"),
    ):
        with pytest.raises(UserError, match=words) as error:
            read_bytes(source)
        assert str(error.value).startswith(source)
        assert "\n" not in str(error.value)


def test_local_runner_predicts_a_list(images, workdir, tmp_path, capsys):
    rows = [{"image": content, "id": f"made/{i}"} for i, content in enumerate(images.values())]
    path = write_parquet(tmp_path / "set.parquet", rows)
    argv = ["predict", f"--model={workdir}"]
    assert cli.main([*argv, f"--list={path}", f"--out={tmp_path / 'records'}"]) == 0
    assert "5 images predicted" in capsys.readouterr().out
    files = [str(tmp_path / "photos" / name) for name in list(images)[:2]]
    assert cli.main([*argv, *files, f"--out={tmp_path / 'files'}"]) == 0
    for i, name in enumerate(("a", "b")):
        for ending in ("mask", "overlay"):
            content = (tmp_path / "records" / "made" / f"{i}_{ending}.png").read_bytes()
            assert content == (tmp_path / "files" / f"{name}_{ending}.png").read_bytes()
    capsys.readouterr()
    (tmp_path / "list.txt").write_text("photos/one/a.png\nphotos/none.png\n")
    assert cli.main([*argv, f"--list={tmp_path}/list.txt", f"--out={tmp_path / 'more'}"]) == 1
    assert "photos/none.png: no such file" in capsys.readouterr().err
    assert (tmp_path / "more/one/a_mask.png").is_file()
    none = str(tmp_path / "photos/none.png")
    assert cli.main([*argv, none, f"--out={tmp_path / 'more'}"]) == 2
    assert "none.png: no image there" in capsys.readouterr().err
    for more, words in (
        ([], "give images or a list of them"),
        (["x.png", "--list=l.txt"], "give images or a list of them"),
        (["x.png", "--column=image"], "--column: needs --list"),
        (["x.png", "--actors=2"], "--actors: needs --runner=ray"),
        (["x.png", "--runner=rya"], "--runner: unknown 'rya' (did you mean 'ray'?)"),
        (["x.png", "--runner=ray", "--actors=0"], "--actors: 0 is not above 0"),
        (["x.png", "--runner=ray", "--most-failed=2"], "--most-failed: 2 is not between 0 and 1"),
    ):
        assert cli.main([*argv, "--out=o", *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def test_damaged_files_do_not_stop_the_others(images, workdir, tmp_path, capsys):
    folder = tmp_path / "photos"
    for name, kept in (("one/b.png", 100), ("two/c.png", 0)):
        (folder / name).write_bytes(images[name][:kept])
    for name in ("bad.tif", "bad.nii.gz", "bad.mp4"):
        (folder / name).write_bytes(b"II*\0damaged")
    argv = ["predict", f"--model={workdir}", f"--out={folder}", str(folder)]
    for _ in range(2):  # outputs go to the input folder, and are skipped the second time
        assert cli.main(argv) == 1
        out, err = capsys.readouterr()
        assert "3 images predicted" in out
        bad = ("bad.mp4", "bad.nii.gz", "bad.tif", "one/b.png", "two/c.png")
        assert err.splitlines()[-6] == "error: 5 of 8 failed:"
        assert err.splitlines()[-5:] == [f"  {folder / name}" for name in bad]
        masks = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_mask*"))
        assert masks == ["one/a_mask.png", "two/a_mask.png", "two/d_mask.png"]
