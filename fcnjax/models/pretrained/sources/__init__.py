"""Sources of weights: `fetch_weights` turns a source into files on this machine."""

from fcnjax.models.pretrained.sources.fetch import fetch_weights
from fcnjax.models.pretrained.sources.hub import fetch_hub_model
from fcnjax.models.pretrained.sources.weights import IMAGENET_MEAN, IMAGENET_STD, Weights

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Weights", "fetch_hub_model", "fetch_weights"]
