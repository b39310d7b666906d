"""Plans for absent TPUs, by libtpu.

bash launch/test.sh -m slow tests/inspection/planning
"""

import re

import pytest

pytest.importorskip("libtpu")


@pytest.mark.slow
def test_one_batch_for_sixteen_chips(plan):
    code, out, err = plan("--topology=v5e:4x4", "--batch=32")
    assert code == 0, err
    assert "v5e:4x4: 16 devices of 16.00 GiB (data 16, fsdp 1, spatial 1)" in out
    assert "with a batch of 32 images (2 a device)" in out
    # What is left over of the arguments is small: tiles are reckoned as libtpu lays them.
    assert re.search(r"^step number, alignment +[\d.]+ (KiB|bytes)$", out, re.MULTILINE), out
    assert re.search(r"^all-reduce +\d+ ", out, re.MULTILINE), out


@pytest.mark.slow
def test_table_rows_end_at_largest_batch(plan):
    small = ["--memory=0.05", "--topology=v5e:1x1,v5e:2x2"]
    code, out, err = plan("--table", *small)
    assert code == 0, err
    rows = re.findall(r"^ +v5e:(\dx\d) +(\d+) +([\d.]+) +(\d+) +([\d.]+) +([\d.]+) ", out, re.M)
    assert [row[0] for row in rows] == ["1x1", "2x2"]
    for _, chips, each, batch, fits, more in rows:
        assert int(chips) * float(each) == int(batch)
        assert float(fits) <= 0.05 <= float(more)
    assert "100.0 to 100 %" in out
    assert "https://docs.cloud.google.com/tpu/docs/v5e" in out


@pytest.mark.slow
def test_too_large_programs_are_refused(plan):
    words = ["--topology=v5e:1x1", "--batch=8192", "--config.augment.crop=128,128"]
    code, _, err = plan(*words)
    assert code == 2
    found = re.search(r"the compiler refuses 8192 images for memory; they need ([\d.]+) GiB", err)
    assert float(found[1]) > 16
