"""Publication of trained models: a folder of weights, config and model card."""
