"""`docs/browser/index.html` in Chromium, with a model of `fcnjax export --format=onnx`.

`bash launch/test.sh -m network tests/export/test_browser.py`; it needs Chromium and npm, which
downloads onnxruntime-web.
"""

import contextlib
import functools
import http.server
import io
import json
import queue
import shutil
import subprocess
import threading
import urllib.parse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcnjax import cli

PAGE = Path(__file__).parent.parent.parent / "docs" / "browser" / "index.html"
PACKAGE = "onnxruntime-web@1.30.0"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
SIZES = ((97, 133), (64, 50), (35, 40))  # height and width

# Drops the files of `images` on the page in a frame, one by one, and posts the mask or the error.
DRIVER = """<!doctype html>
<iframe id="frame" width="800" height="800"></iframe>
<script type="module">
const options = new URLSearchParams(location.search);
const sleep = () => new Promise((resolve) => setTimeout(resolve, 20));
const frame = document.getElementById("frame");
frame.src = "index.html?model=" + options.get("model");
await new Promise((resolve) => { frame.onload = resolve; });
const page = frame.contentWindow, find = (id) => page.document.getElementById(id);
const status = () => find("status").textContent;
const post = (name, body) => fetch("/results/" + name, { method: "POST", body });
while (status().startsWith("Loading")) await sleep();
if (status() !== "Ready") await post("model", status());
for (const name of options.getAll("image")) {
  const data = new page.DataTransfer();
  data.items.add(new page.File([await (await fetch(name)).blob()], name.split("/").pop()));
  find("status").textContent = "";
  find("save").hidden = true;
  page.document.dispatchEvent(new page.DragEvent("drop", { dataTransfer: data }));
  while (find("save").hidden && !status().startsWith("Error")) await sleep();
  const mask = find("save");
  await post(name, mask.hidden ? status() : await (await page.fetch(mask.href)).blob());
}
</script>
"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and puts the name and content of each result into a queue."""

    results: queue.Queue

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.results.put((self.path.rpartition("/")[2], content))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the page, its package and the driver."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(PAGE, folder)
    (folder / "drive.html").write_text(DRIVER)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    subprocess.run(install, cwd=folder, check=True)
    return folder


@contextlib.contextmanager
def browser(site, **options):
    """Open the driver in a new browser, and yield the function that waits for a result."""
    Handler.results = queue.Queue()
    handler = functools.partial(Handler, directory=site)
    query = urllib.parse.urlencode(options, doseq=True)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        (site / "browser.log").open("w") as log,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/drive.html?{query}"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        profile = f"--user-data-dir={site / 'profile'}"
        process = subprocess.Popen([CHROMIUM, *arguments, profile, url], stdout=log, stderr=log)
        try:
            yield functools.partial(Handler.results.get, timeout=120)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


def export(workdir, out, *options):
    argv = ["export", f"--model={workdir}", "--format=onnx", f"--out={out}", *options]
    assert cli.main(argv) == 0


def write_images(folder):
    """Write PNGs of coarse noise, and a JPEG that is stored turned; return their names."""
    rng = np.random.default_rng(0)
    for height, width in SIZES:
        coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        image = coarse.repeat(8, 0).repeat(8, 1)[:height, :width]
        Image.fromarray(image).save(folder / f"{height}x{width}.png")
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(image).save(folder / "turned.jpg", exif=exif)
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.network
@pytest.mark.parametrize(
    "options", [(), ("--layout=nchw",), ("--input=float32",)], ids=lambda o: "".join(o) or "default"
)
def test_masks_equal_those_of_predict_in_every_pixel(workdir, site, tmp_path, options):
    folder = site / tmp_path.name
    (folder / "images").mkdir(parents=True)
    export(workdir, folder / "model", *options)
    names = write_images(folder / "images")
    argv = ["predict", f"--model={workdir}", str(folder / "images"), f"--out={folder / 'masks'}"]
    assert cli.main(argv) == 0
    paths = [f"{folder.name}/images/{name}" for name in names]
    with browser(site, model=f"{folder.name}/model", image=paths) as result:
        actual = dict(result() for _ in names)
    assert sorted(actual) == names
    for name, content in actual.items():
        assert content.startswith(b"\x89PNG"), content
        mask = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        expected = np.asarray(Image.open(folder / "masks" / f"{Path(name).stem}_mask.png"))
        assert len(np.unique(expected)) > 1
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.network
def test_errors_are_shown(workdir, site, tmp_path):
    folder = site / tmp_path.name
    folder.mkdir()
    export(workdir, folder / "model")
    Image.new("RGB", (40, 31)).save(folder / "small.png")
    (folder / "text.png").write_text("no image")
    images = [f"{folder.name}/{name}" for name in ("small.png", "text.png")]
    with browser(site, model=f"{folder.name}/model", image=images) as result:
        (small, error), (text, decoding_error) = result(), result()
    assert (small, text) == ("small.png", "text.png")
    assert error == b"Error: small.png: the model takes 32x32 or more"
    assert decoding_error.startswith(b"Error: text.png: ")
    config = json.loads((folder / "model" / "config.json").read_text())
    config["config"]["data"]["channels"] = "B2,B3"
    (folder / "model" / "config.json").write_text(json.dumps(config))
    with browser(site, model=f"{folder.name}/model") as result:
        assert result() == ("model", b"Error: B2,B3 is not RGB or L")
