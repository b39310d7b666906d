"""`POST /segment`: image files in, and what `fcnjax predict` writes out."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli


def bomb(width, height):
    """A PNG of a few bytes whose header claims any size."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def segment(client, content, query="", **options):
    return client.post(f"/segment{query}", content=content, **options)


def unusual_files(image, encode):
    """Files that `predict` reads, and that are not a plain RGB picture of 8 bits."""
    picture = Image.fromarray(image)
    turned = picture.getexif()
    turned[0x112] = 6
    grey16 = Image.fromarray(image[..., 0].astype(np.uint16))
    return {
        "rgb.png": encode(image),
        "rgb.jpg": encode(image, "JPEG", quality=90),
        "rgb.ppm": encode(image, "PPM"),
        "rgb.bmp": encode(image, "BMP"),
        "grey.png": encode(image[..., 0]),
        "cmyk.jpg": encode(picture.convert("CMYK"), "JPEG"),
        "grey16.png": encode(grey16),
        "alpha.png": encode(np.dstack([image, image[..., :1]])),
        "palette.png": encode(picture.quantize(16)),
        "turned.jpg": encode(image, "JPEG", exif=turned),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
    }


def test_responses_equal_files_of_predict(client, workdir, image, encode, tmp_path):
    files = unusual_files(image, encode)
    (tmp_path / "in").mkdir()
    for name, content in files.items():
        # By names without dots, since outputs are named by the stem.
        stem, _, suffix = name.partition(".")
        (tmp_path / "in" / f"{stem}_{suffix}.{suffix}").write_bytes(content)
    argv = ["predict", str(tmp_path / "in"), f"--model={workdir}", f"--out={tmp_path / 'out'}"]
    assert cli.main(argv) == 0
    for name, content in files.items():
        stem = tmp_path / "out" / name.replace(".", "_")
        for output in ("mask", "overlay"):
            answer = segment(client, content, f"?output={output}")
            assert answer.status_code == 200, (name, answer.text)
            assert answer.content == stem.with_name(f"{stem.name}_{output}.png").read_bytes(), name


def test_the_mask_by_default_and_a_form_with_a_file(client, png):
    mask = segment(client, png, "?output=mask").content
    assert segment(client, png).content == mask
    form = {"any": ("../../etc/passwd", png, "image/png")}
    assert client.post("/segment", files=form, data={"note": "x"}).content == mask


def test_json(client, model, image, png):
    by_accept = segment(client, png, headers={"Accept": "application/json"})
    found = segment(client, png, "?output=json").json()
    assert by_accept.json() == found
    assert (found["height"], found["width"], found["mask_type"]) == (*image.shape[:2], "uint8")
    arrays = {
        name: np.frombuffer(zlib.decompress(base64.b64decode(found[name])), np.uint8)
        for name in ("mask", "confidence")
    }
    expected = model(image)
    assert (arrays["mask"] == expected.mask.ravel()).all()
    confidence = np.rint(255 * expected.probabilities.max(-1)).ravel()
    assert (arrays["confidence"] == confidence).all()
    assert [one["name"] for one in found["classes"]] == list(model.class_names)
    assert [one["colour"] for one in found["classes"]] == model.palette.tolist()
    assert [one["is_background"] for one in found["classes"]] == [True, False, False]
    counts = np.bincount(expected.mask.ravel(), minlength=3).tolist()
    assert [one["pixels"] for one in found["classes"]] == counts


def moving(encode, image, kind):
    more = [Image.fromarray(image), Image.fromarray(255 - image)]
    return encode(image, kind, save_all=True, append_images=more)


BAD = {
    "nothing": (lambda _, __: b"", 400, "the body is empty; valid: a PNG"),
    "text": (lambda _, __: b"hello", 400, "unknown format; valid: a PNG"),
    "magic bytes": (lambda i, e: b"\x88" + e(i)[1:], 400, "cannot be read"),
    "path": (lambda _, __: b"/etc/passwd", 400, "cannot be read"),
    "gif": (lambda i, e: e(i, "GIF"), 400, "cannot be read"),
    "animated gif": (lambda i, e: moving(e, i, "GIF"), 400, "cannot be read"),
    "animated png": (lambda i, e: moving(e, i, "PNG"), 400, "holds several pictures"),
    "pages": (lambda i, e: moving(e, i, "TIFF"), 400, "holds several pictures"),
    "cut png": (lambda i, e: e(i)[:2000], 400, "image: cannot be read as an image"),
    "cut jpeg": (lambda i, e: e(i, "JPEG")[:900], 400, "image: cannot be read as an image"),
    "cut header": (lambda i, e: e(i)[:20], 400, "cannot be read"),
    "float": (lambda i, e: e(i[..., 0] / np.float32(2), "TIFF"), 400, "with fractions"),
    "no width": (lambda _, __: bomb(0, 5), 400, "cannot be read"),
    "large": (lambda i, e: e(np.zeros((129, 128), np.uint8)), 413, "128x129, 16512 pixels"),
    "bomb": (lambda _, __: bomb(2**31 - 1, 2**31 - 1), 413, "the limit is 16384"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_image_is_refused_and_next_is_served(client, image, png, encode, case, capfd):
    make, status, words = BAD[case]
    answer = segment(client, make(image, encode))
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    (message,) = answer.json().values()
    assert words in message
    assert "\n" not in message
    assert segment(client, png).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_invalid_requests_are_refused(client, png):
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
    for answer, status, words in (
        (segment(client, png, "?output=../x"), 400, "valid: mask, overlay, json"),
        (segment(client, bytes(2**20 + 1)), 413, "the limit is 1048576"),
        (segment(client, (bytes(2**18) for _ in range(9))), 413, "more than 1048576 bytes"),
        (segment(client, png, headers={"Content-Encoding": "gzip"}), 415, "valid: identity"),
        (segment(client, b"nothing", headers=form), 400, "the form"),
        (segment(client, part, headers=form), 400, "holds no file"),
        (segment(client, b"x", headers={"Content-Type": "multipart/form-data"}), 400, "boundary"),
        (client.post("/segment", files=[("a", ("a", png)), ("b", ("b", png))]), 400, "several"),
        (client.get("/segment"), 405, "Method Not Allowed"),
        (client.get("/segment/"), 404, "Not Found"),
        (client.get("/../../etc/passwd"), 404, "Not Found"),
        (client.get("/%2e%2e/page.py"), 404, "Not Found"),
    ):
        assert answer.status_code == status, answer.text
        assert words in answer.json()["error"]


def test_models_of_grey_images_and_bands(make_run, shapes, tiny_options, tmp_path, encode):
    from fcnjax.errors import UserError
    from fcnjax.serving.images import decode

    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (decode(encode(pixels), "L")[..., 0] == pixels).all()
    with pytest.raises(UserError, match="has no band 'B2'"):
        decode(encode(pixels), "B2,B3")


def test_page_loads_nothing_from_elsewhere(client):
    texts = {path: client.get(path) for path in ("/", "/page.css", "/page.js")}
    for path, answer in texts.items():
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http" not in answer.text, path
    for path in ("/page.css", "/page.js"):
        assert path.strip("/") in texts["/"].text


def test_page_names_the_run_and_its_classes(make_client, model):
    run = make_client(name="shapes").get("/model").json()
    assert (run["name"], run["step"]) == ("shapes", model.step)
    assert [each["name"] for each in run["classes"]] == list(model.class_names)
    assert [each["colour"] for each in run["classes"]] == model.palette.tolist()


@pytest.mark.parametrize(
    ("workdir", "name"), [("hf://owner/repo", "owner/repo"), ("runs/retina/", "retina")]
)
def test_name_of_a_model(workdir, name):
    from fcnjax.cli.serve import model_name

    assert model_name(workdir) == name


def test_metrics_count_by_route_and_status(client, png):
    before = counted(client)
    segment(client, png)
    segment(client, b"")
    client.get("/nowhere/<script>")
    after = counted(client)
    rows = ('route="segment",status="200"', 'route="segment",status="400"')
    for row in (*rows, 'route="unknown",status="404"'):
        key = f"fcnjax_requests_total{{{row}}}"
        assert after[key] == before.get(key, 0) + 1
    assert after["fcnjax_batch_images_sum"] == before["fcnjax_batch_images_sum"] + 1
    assert "script" not in json.dumps(after)


def counted(client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = (line for line in io.StringIO(answer.text) if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
