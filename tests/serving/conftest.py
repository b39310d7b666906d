"""A model to serve, with made weights."""

import asyncio
import io

import numpy as np
import pytest
from PIL import Image

SIZE = (45, 53)  # of the picture; its bucket is 48x64


@pytest.fixture(scope="session")
def workdir(copy_of_run):
    return copy_of_run()


@pytest.fixture(scope="session")
def model(workdir):
    from fcnjax.inference import load

    return load(workdir)


@pytest.fixture(scope="session")
def image():
    return np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)


@pytest.fixture(scope="session")
def encode():
    """`encode(pixels, format)`: an image file's bytes."""

    def write(pixels, kind="PNG", **options):
        file = io.BytesIO()
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        picture.save(file, kind, **options)
        return file.getvalue()

    return write


@pytest.fixture(scope="session")
def png(image, encode):
    return encode(image)


@pytest.fixture
def make_client(model):
    """`make_client(**options)`: a client of the app, in this process, once it is ready."""
    from starlette.testclient import TestClient

    from fcnjax.serving.app import make_app
    from fcnjax.serving.service import Options, Service

    stack = []

    def make(served=model, **options):
        service = Service(served, Options(**options))
        client = TestClient(make_app(service), raise_server_exceptions=False)
        client.__enter__()
        stack.append(client)
        client.service = service
        while not service.ready and service.fault is None:
            client.portal.call(asyncio.sleep, 0.01)
        return client

    yield make
    for client in stack:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(model):
    """A client of an app of the module's own, with small limits."""
    from starlette.testclient import TestClient

    from fcnjax.serving.app import make_app
    from fcnjax.serving.service import Options, Service

    options = Options(max_bytes=2**20, max_pixels=128 * 128, queue=8, receive_seconds=5)
    app = make_app(Service(model, options))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
