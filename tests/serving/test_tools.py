"""The server as others' tools see it: Triton's client, schemathesis, a browser.

pip install 'tritonclient[http]' schemathesis playwright
apt-get install chromium
bash launch/test.sh tests/serving/test_tools.py -m slow
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def load(name):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def port(workdir):
    with load("test_process").serving(workdir, "--warm=none", "--port=0") as (_, port):
        yield port


@pytest.mark.filterwarnings("ignore")  # of its own imports
def test_triton_client(port, model, image):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(f"127.0.0.1:{port}")
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("segmenter")
    assert client.get_server_metadata()["name"] == "fcnjax"
    assert client.get_model_metadata("segmenter")["outputs"][1]["shape"] == [-1, -1, -1, 3]
    assert client.get_model_config("segmenter", "10")["input"][0]["data_type"] == "TYPE_UINT8"
    batch = np.stack([image, image[::-1]])
    for binary in (True, False):
        for datatype, pixels in (("UINT8", batch), ("FP32", (batch / 255).astype(np.float32))):
            tensor = triton.InferInput("image", list(pixels.shape), datatype)
            tensor.set_data_from_numpy(pixels, binary_data=binary)
            wanted = [
                triton.InferRequestedOutput(name, binary_data=binary)
                for name in ("mask", "probabilities")
            ]
            for outputs in (None, wanted):
                found = client.infer("segmenter", [tensor], outputs=outputs, request_id="7")
                assert found.get_response()["id"] == "7"
                for i, one in enumerate(pixels):
                    expected = model(one)
                    assert (found.as_numpy("mask")[i] == expected.mask).all()
                    probabilities = found.as_numpy("probabilities")[i]
                    np.testing.assert_allclose(probabilities, expected.probabilities, atol=1e-5)
    with pytest.raises(triton.InferenceServerException, match="valid: segmenter"):
        client.infer("other", [tensor])
    client.close()


def test_schemathesis(port):
    command = shutil.which("schemathesis", path=Path(sys.executable).parent)
    if command is None:
        pytest.skip("no schemathesis")
    config = Path(__file__).with_name("schemathesis.toml")
    url = f"http://127.0.0.1:{port}"
    options = ["--url", url, "--max-examples=30", "--seed=1", "--no-color"]
    done = subprocess.run(
        [command, f"--config-file={config}", "run", f"{url}/openapi.json", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]


# Drops a file on an element, as a hand does.
DROP = """async ([selector, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "a.b.png", {type: "image/png"}));
  const event = (name) => new DragEvent(name, {dataTransfer: data, bubbles: true});
  const target = document.querySelector(selector);
  for (const name of ["dragover", "drop"]) target.dispatchEvent(event(name));
}"""
COLOUR = """([x, y]) => [...document.getElementById("picture").getContext("2d")
  .getImageData(x, y, 1, 1).data]"""


@pytest.fixture
def page(port):
    api = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium")
    with api.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 900, "height": 700})
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda line: line.type == "error" and page.faults.append(line.text))
        own = (f"http://127.0.0.1:{port}/", "data:", "blob:")
        page.on(
            "request",
            lambda sent: sent.url.startswith(own) or page.faults.append(f"loads {sent.url}"),
        )
        page.goto(f"http://127.0.0.1:{port}/")
        yield page
        browser.close()


def test_the_page(page, model, image, png, tmp_path):
    expected = model(image)
    height, width = image.shape[:2]
    # The run and its classes, before there is an image.
    page.locator("#legend li").nth(2).wait_for()
    assert page.inner_text("#name") == "shapes"
    assert page.locator("#legend li").all_inner_texts() == ["class_0 (clear)", "class_1", "class_2"]
    page.evaluate(DROP, ["#drop", list(png)])
    page.wait_for_selector("#view:not([hidden])")
    assert f"{height} pixels" in page.inner_text("#status")
    assert page.locator("#legend li").count() == 3

    # A pixel by mouse, then by keyboard: its class, and how sure the model is.
    def words(x, y):
        name = model.class_names[expected.mask[y, x]]
        sure = round(100 * round(255 * float(expected.probabilities[y, x].max())) / 255)
        return f"{name}, {sure} % sure (x {x}, y {y})"

    box = page.locator("#picture").bounding_box()
    factor = box["width"] / width
    assert factor == box["height"] / height == int(factor) > 1
    at = {"x": (10 + 0.5) * box["width"] / width, "y": (20 + 0.5) * box["height"] / height}
    page.hover("#picture", position=at)
    assert page.inner_text("#pixel") == words(10, 20)
    page.focus("#picture")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert page.inner_text("#pixel") == words(11, 30)
    for _ in range(8):
        page.keyboard.press("Shift+ArrowLeft")
    assert page.inner_text("#pixel") == words(0, 30)

    # At half the opacity, contours hide the image; the background is clear.
    mask = expected.mask
    (y, x), *_ = np.argwhere((mask[:, 1:] != mask[:, :-1]) & (mask[:, 1:] > 0))
    colour = model.palette[mask[y, x + 1]].tolist()
    assert page.evaluate(COLOUR, [int(x) + 1, int(y)])[:3] == colour
    (y, x), *_ = np.argwhere(mask == 0)
    assert page.evaluate(COLOUR, [int(x), int(y)])[:3] == image[y, x].tolist()

    # The opacity: nothing of the classes, then nothing of the image below them.
    (y, x), *_ = np.argwhere(expected.mask > 0)
    page.focus("#opacity")
    page.keyboard.press("Home")
    assert page.evaluate(COLOUR, [int(x), int(y)])[:3] == image[y, x].tolist()
    page.keyboard.press("End")
    colour = model.palette[expected.mask[y, x]].tolist()
    assert page.evaluate(COLOUR, [int(x), int(y)])[:3] == colour

    with page.expect_download() as waiting:
        page.click("#download")
    assert waiting.value.suggested_filename == "a.b_mask.png"
    waiting.value.save_as(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as mask:
        assert mask.mode == "P"
        assert (np.asarray(mask) == expected.mask).all()
    assert page.faults == []

    # A file that is not an image gives a message, and the next one is shown.
    (tmp_path / "text.png").write_text("hello")
    page.set_input_files("#file", tmp_path / "text.png")
    page.wait_for_selector("#status.error")
    assert "text.png: image: cannot be read" in page.inner_text("#status")
    assert not page.is_visible("#picture")
    assert page.locator("#legend li").all_inner_texts()[1] == "class_1"
    page.faults.clear()  # the browser tells of the status 400
    # What a browser cannot show, it shows the classes of.
    Image.fromarray(image).save(tmp_path / "a.tif")
    page.set_input_files("#file", tmp_path / "a.tif")
    page.wait_for_selector("#status:not(.error)")
    # Not by wait_for_function: the page's policy lets no text become a script.
    page.locator("#status", has_text="alone").wait_for()
    page.set_viewport_size({"width": 360, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.faults == []
