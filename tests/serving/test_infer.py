"""The Open Inference Protocol, as its page and Triton's clients have it."""

import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

INFER = "/v2/models/segmenter/infer"


def message(image, datatype="UINT8", **changes):
    tensor = {"name": "image", "shape": list(image.shape), "datatype": datatype}
    return {"inputs": [{**tensor, "data": image.ravel().tolist(), **changes}]}


def binary(image, datatype="UINT8", size=None, **request):
    """The body and headers of a request whose tensor follows its JSON."""
    tensor = {
        "name": "image",
        "shape": list(image.shape),
        "datatype": datatype,
        "parameters": {"binary_data_size": image.nbytes if size is None else size},
    }
    head = json.dumps({"inputs": [tensor], **request}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return {"content": head + image.tobytes(), "headers": headers}


def outputs(answer):
    """The output tensors of an answer, of either kind."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    found, tail = json.loads(answer.content[:length]), answer.content[length:]
    arrays = {}
    for tensor in found["outputs"]:
        dtype = {"UINT8": "u1", "FP32": "<f4"}[tensor["datatype"]]
        if "data" in tensor:
            array = np.asarray(tensor["data"], dtype)
        else:
            size = tensor["parameters"]["binary_data_size"]
            array, tail = np.frombuffer(tail[:size], dtype), tail[size:]
        arrays[tensor["name"]] = array.reshape(tensor["shape"])
    assert not tail
    return arrays, found


@pytest.fixture(scope="module")
def batch(image):
    return np.stack([image, image[::-1]])


def test_server_metadata(client, model):
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    server = client.get("/v2").json()
    assert server["name"] == "fcnjax"
    assert "binary_tensor_data" in server["extensions"]
    for path in ("/v2/models/segmenter", f"/v2/models/segmenter/versions/{model.step}"):
        found = client.get(path).json()
        assert (found["name"], found["versions"]) == ("segmenter", ["10"])
        assert found["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
        shapes = {one["name"]: (one["datatype"], one["shape"]) for one in found["outputs"]}
        assert shapes == {
            "mask": ("UINT8", [-1, -1, -1]),
            "probabilities": ("FP32", [-1, -1, -1, 3]),
        }
        assert client.get(f"{path}/ready").status_code == 200
        config = client.get(f"{path}/config").json()
        assert config["input"][0]["data_type"] == "TYPE_UINT8"
    for path in ("/v2/models/other", "/v2/models/segmenter/versions/9", "/v2/models/..%2fx"):
        assert client.get(path).status_code == 404


def test_json_and_binary_tensors_match_the_model(client, model, batch):
    expected = [model(image) for image in batch]
    bodies = (
        {"json": message(batch)},
        {"json": message(batch, data=batch.tolist())},  # nested
        binary(batch),
        {"json": {**message(batch), "parameters": {"binary_data_output": True}}},
        binary(batch, parameters={"binary_data_output": True}),
    )
    for body in bodies:
        arrays, found = outputs(client.post(INFER, **body))
        assert (found["model_name"], found["model_version"]) == ("segmenter", "10")
        assert "id" not in found
        for i, prediction in enumerate(expected):
            assert (arrays["mask"][i] == prediction.mask).all()
            probabilities = arrays["probabilities"][i]
            np.testing.assert_allclose(probabilities, prediction.probabilities, atol=1e-5)


def test_other_types(client, model, image):
    for datatype, pixels in (
        ("UINT16", image.astype(np.uint16)),
        ("INT16", image.astype(np.int16)),
        ("FP64", image.astype(np.float64)),
        ("FP32", image.astype(np.float32)),
        ("FP32", image.astype(np.float32) / 255),  # in 0..1
    ):
        expected = model(image).mask
        for body in ({"json": message(pixels[None], datatype)}, binary(pixels[None], datatype)):
            arrays, _ = outputs(client.post(INFER, **body))
            assert (arrays["mask"][0] == expected).all(), datatype


def test_requested_outputs(client, image):
    wanted = [{"name": "mask", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    arrays, found = outputs(client.post(INFER, **binary(image[None], outputs=wanted, id="a\n<b>")))
    assert list(arrays) == ["mask", "probabilities"]
    assert ["data" in tensor for tensor in found["outputs"]] == [False, True]
    assert found["id"] == "a\n<b>"
    arrays, _ = outputs(client.post(INFER, **binary(image[None], outputs=wanted[:1])))
    assert list(arrays) == ["mask"]


NAN = np.full((1, 4, 4, 3), np.nan, np.float32)
GOOD = np.zeros((1, 4, 4, 3), np.uint8)
MIB = 2**20
BAD = [
    (b"", 400, "is not JSON"),
    (b"{", 400, "is not JSON"),
    (b"\xff\xfe", 400, "is not UTF-8"),
    (b"[" * 100_000, 400, "nested too deep"),
    (b'{"a":' * 100_000, 400, "nested too deep"),
    (b'{"a":' * 70 + b"1" + b"}" * 70, 400, "nested too deep"),
    (b'{"a": ' + b"9" * 5000 + b"}", 400, "beyond 64 bits"),
    (b'{"id": "\\ud800"}', 400, "an unpaired surrogate"),
    (b"[]", 400, "not a JSON object"),
    (b"{}", 400, "inputs: is not a list of one"),
    ({"inputs": [1]}, 400, "inputs: is not a list of one"),
    ({"inputs": message(GOOD)["inputs"] * 2}, 400, "inputs: is not a list of one"),
    (message(GOOD, name="../x"), 400, "valid: image"),
    (message(GOOD, datatype="BYTES"), 400, "valid: UINT8, UINT16, UINT32"),
    (message(GOOD, datatype=[]), 400, "valid: UINT8, UINT16, UINT32"),
    (message(GOOD, shape=[1, 4, 4]), 400, "valid: [B, H, W, 3]"),
    (message(GOOD, shape=[1, 4, 12, 1]), 400, "valid: [B, H, W, 3]"),
    (message(GOOD, shape=[1, -4, -4, 3]), 400, "valid: [B, H, W, 3]"),
    (message(GOOD, shape=[1, 0, 4, 3]), 400, "valid: [B, H, W, 3]"),
    (message(GOOD, shape=[True, 4, 4, 3]), 400, "not of four numbers"),
    (message(GOOD, shape=[1, 4, 4.0, 3]), 400, "not of four numbers"),
    (message(GOOD, shape=[1, 4, 5, 3]), 400, "has 48 numbers, and the shape 60"),
    (message(GOOD, shape=[9, 4, 4, 3]), 413, "a batch of more than 8"),
    (message(GOOD, shape=[1, 10**18, 10**18, 3]), 413, "more than 16384 pixels"),
    (message(GOOD, data=["a"] * 48), 400, "not a list of numbers"),
    (message(GOOD, data=[[1], 2]), 400, "not a list of numbers"),
    (message(GOOD, data=[10**30] * 48), 400, "beyond 64 bits"),
    (message(GOOD, data=[2**64 - 1] * 48), 400, "not a list of numbers"),
    (message(GOOD, data=[True] * 47 + [1]), 400, "not a list of numbers"),
    (message(GOOD, data=["1"] * 47 + [1]), 400, "not a list of numbers"),
    (message(GOOD, data=["x" * 10**5] + [""] * 10**5), 400, "not a list of numbers"),
    (message(GOOD, data={}), 400, "not a list of numbers"),
    (message(GOOD, data=[-1] * 48), 400, "whole ones of 0 to 255"),
    (message(GOOD, data=[256] * 48), 400, "whole ones of 0 to 255"),
    (message(GOOD, data=[0.5] * 48), 400, "whole ones of 0 to 255"),
    (message(GOOD, data=[1e999] * 48), 400, "whole ones of 0 to 255"),
    (message(GOOD, "FP32", data=[2.5] * 48), 400, "with fractions; valid: 0..1, or whole numbers"),
    (message(GOOD, "FP32", data=[256.0] * 48), 400, "takes uint8 (0 to 255)"),
    (message(GOOD, "FP32", data=[1e300] * 48), 400, "NaN or infinite"),
    (message(GOOD, "INT16", data=[-1] * 48), 400, "takes uint8 (0 to 255)"),
    (message(GOOD, parameters=[]), 400, "not an object"),
    (message(GOOD, parameters={"binary_data_size": 48}), 400, "data is there too"),
    (message(GOOD, parameters={"shared_memory_region": "/etc/passwd"}), 400, "not served"),
    ({**message(GOOD), "id": 3}, 400, "id: is not a string"),
    ({**message(GOOD), "outputs": []}, 400, "outputs: is not a list of objects"),
    ({**message(GOOD), "outputs": [{"name": "x"}]}, 400, "valid: mask, probabilities"),
    ({**message(GOOD), "outputs": [{"name": "mask"}] * 2}, 400, "there twice"),
    ({**message(GOOD), "outputs": [{"name": []}]}, 400, "valid: mask, probabilities"),
    (
        {**message(GOOD), "outputs": [{"name": "mask", "parameters": {"classification": 3}}]},
        400,
        "classification is not served",
    ),
    ({**message(GOOD), "parameters": {"binary_data_output": 1}}, 400, "not true or false"),
    (binary(NAN, "FP32"), 400, "NaN or infinite"),
    (binary(GOOD, size=47), 400, "has 48 bytes, binary_data_size says 47"),
    (binary(GOOD, size=-1), 400, "has 48 bytes"),
    (binary(GOOD, size="48"), 400, "binary_data_size is no number"),
    (binary(GOOD, "FP32"), 400, "and the shape 192"),
    ({**binary(GOOD), "headers": {"Inference-Header-Content-Length": "9999"}}, 400, "0 to"),
    ({**binary(GOOD), "headers": {"Inference-Header-Content-Length": "-1"}}, 400, "0 to"),
    ({**binary(GOOD), "headers": {"Inference-Header-Content-Length": "9" * 5000}}, 400, "0 to"),
    (bytes(MIB + 1), 413, "the limit is 1048576"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=range(len(BAD)))
def test_bad_requests_are_one_line_errors(client, body, status, words):
    if isinstance(body, bytes):
        body = {"content": body}
    elif "content" not in body:
        # As Python writes it: 1e999 as Infinity.
        body = {"content": json.dumps(body).encode()}
    answer = client.post(INFER, **body)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert client.post(INFER, json=message(GOOD)).status_code == 200


def test_json_limits(client, model, monkeypatch):
    monkeypatch.setattr("fcnjax.serving.open_inference.MOST_NUMBERS", 47)
    answer = client.post(INFER, json=message(GOOD))
    assert answer.status_code == 413
    assert "probabilities: has 48 numbers" in answer.json()["error"]
    assert "ask for binary data" in answer.json()["error"]
    monkeypatch.setattr("fcnjax.serving.open_inference.MOST_JSON", 20)
    answer = client.post(INFER, json=message(GOOD))
    assert answer.status_code == 413
    assert "send tensors as binary" in answer.json()["error"]


def test_openapi_names_every_route(client):
    found = client.get("/openapi.json").json()
    assert found["openapi"] == "3.1.0"
    app = client.app._app
    routes = {route.path for route in app.routes} - {"/page.css", "/page.js"}
    assert set(found["paths"]) == routes
    for path in found["paths"].values():
        for method in set(path) - {"parameters"}:
            assert path[method]["responses"]["200"]


def grey_png(height, width):
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


def test_budget_limits_all_requests(make_client):
    client = make_client(max_bytes=4000, max_total_bytes=99_999)
    budget = client.service.budget
    assert client.post(INFER, json=message(GOOD)).status_code == 200
    with budget.share() as share:
        share.take(95_000)
        answer = client.post(INFER, json=message(GOOD))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "holds too many requests; try again in 1 s" in answer.json()["error"]
    large = np.zeros((1, 64, 64, 3), np.uint8)
    assert client.post(INFER, json=message(large)).status_code == 413  # its body
    # 40 bytes a byte of JSON; 12 a decoded pixel; two copies of the image, of the probabilities of
    # three classes, and 16 more, a pixel of the canvas.
    dark, wide = grey_png(100, 100), grey_png(40, 70)
    for path, content, needs in (
        (INFER, f"{json.dumps(message(GOOD)):<2500}", 2500 + 40 * 2500),
        ("/segment", dark, len(dark) + 12 * 100 * 100),
        ("/segment?output=json", wide, len(wide) + 12 * 40 * 70 + 46 * 48 * 80),
    ):
        answer = client.post(path, content=content)
        assert answer.status_code == 413, answer.text
        assert f"needs {needs} bytes, and the server holds 99999" in answer.json()["error"]
    assert budget.held == 0  # all was given back


def test_waiting_images_are_limited_in_bytes(make_client, model, monkeypatch):
    # Each takes 12 bytes a pixel, decoded, and 22 a pixel of its canvas, 112x112.
    one = 12 * 100 * 100 + 22 * 112 * 112
    client = make_client(max_total_bytes=3 * one - 1)
    go, usual = threading.Event(), model.batch
    monkeypatch.setattr(
        model, "batch", lambda *args, **kwargs: go.wait(30) and usual(*args, **kwargs)
    )
    png = grey_png(100, 100)
    with ThreadPoolExecutor(6) as pool:
        tasks = [pool.submit(client.post, "/segment", content=png) for _ in range(6)]
        while sum(task.done() for task in tasks) < 4:
            time.sleep(0.01)
        assert 2 * one <= client.service.budget.held < 3 * one
        go.set()
    assert sorted(task.result().status_code for task in tasks) == [200] * 2 + [503] * 4
    assert client.service.budget.held == 0
