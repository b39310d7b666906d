import pickle

import numpy as np
import pytest

from fcnjax.errors import UserError
from fcnjax.models.pretrained.torch_files.numpy_pickles import read_arrays


def test_arrays_are_named_by_their_keys():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 2, 4)).astype(np.float32)
    tree = {
        "a": {
            "kernel": kernel,
            "columns": np.asfortranarray(kernel[0, 0]),
            "big": kernel.astype(">f4"),
            "half": kernel.astype(np.float16),
            "count": np.asarray(3),
            "none": np.zeros((0, 2)),
            "flags": np.asarray([True, False]),
        },
        "step": 3,
        "name": "x",
    }
    for protocol in (3, 4):
        read = read_arrays(pickle.dumps(tree, protocol), "w.ckpt")
        assert read.keys() == {f"a/{key}" for key in tree["a"]}
        for key, array in tree["a"].items():
            np.testing.assert_array_equal(read[f"a/{key}"], array)
            assert read[f"a/{key}"].dtype.kind == array.dtype.kind


class Call:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (eval, "builtins.eval"),
        (getattr, "builtins.getattr"),
        (np.load, "numpy.load"),
        (np.frombuffer, "frombuffer"),
    ],
)
def test_any_call_raises_and_nothing_runs(function, name):
    content = pickle.dumps({"a": Call(function, "1")}, 3)
    with pytest.raises(UserError, match=r"w\.ckpt: asks to call ") as error:
        read_arrays(content, "w.ckpt")
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_damaged_pickles_raise():
    whole = pickle.dumps({"a": np.arange(9.0)}, 3)
    for length in range(len(whole)):
        with pytest.raises(UserError, match=r"w\.ckpt"):
            read_arrays(whole[:length], "w.ckpt")
    other_type, other_size = whole.replace(b"f8", b"O8"), whole.replace(b"K\t", b"K\x08")
    for content in (pickle.dumps([1], 3), other_type, other_size):
        with pytest.raises(UserError, match="cannot be read as a pickle of arrays"):
            read_arrays(content, "w.ckpt")
