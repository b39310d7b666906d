"""A file for each family of published models: their `config.json`, and the names of tensors."""
