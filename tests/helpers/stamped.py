"""Whether a source tells its files from others, as a cache of it needs."""

import os

from fcnjax.data import open_stored, resolve


def assert_stamped(config, *files):
    """Each of the files, of the split `train`, changed, gives other stamps."""
    config, _ = resolve(config)
    before = open_stored(config, "train").stamps()
    assert before == open_stored(config, "train").stamps()
    for file in files:
        os.utime(file, ns=(1, 1))
        after = open_stored(config, "train").stamps()
        assert after != before, file
        before = after
