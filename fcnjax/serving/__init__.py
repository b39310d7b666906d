"""A trained model behind HTTP: `fcnjax serve`."""
