"""The default config on a folder of images, with changes as on the command line."""

from fcnjax.config import default_config, override


def folder_config(root, *words):
    """Return the config; `words` are `KEY=VALUE` of `config.data`."""
    config = default_config()
    config.data.root = str(root)
    for word in words:
        override(config, f"--config.data.{word}")
    return config
