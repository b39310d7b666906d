"""Sets keys of `config.data` by short names."""

from fcnjax.config import flatten


def set_data(config, changes=(), **keys):
    """Set keys of `config.data` in place.

    A key is its path (`labels.mask_values`), the path with underscores (`split_train`), or its last
    name (`mask_values`).
    """
    paths = {}
    for path in flatten(config.data):
        paths |= dict.fromkeys((path, path.replace(".", "_"), path.rpartition(".")[2]), path)
    values = {paths[key]: value for key, value in {**dict(changes), **keys}.items()}
    config.data.update_from_flattened_dict(values)
