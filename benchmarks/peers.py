"""The torch models of the benchmarks, and the same models in fcnjax with the same weights."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from subjects import AUX_WEIGHT, CLASSES, IGNORED, MODELS
from torch import nn

from fcnjax.models import Segmenter, build_model
from fcnjax.models.pretrained import convert
from fcnjax.models.pretrained.names import LEAVES
from fcnjax.training.state import init_variables


class UNet(nn.Module):
    """U-Net with batch norm and transposed convolutions, with fcnjax's names of layers."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleDict(), nn.ModuleDict()
        self.depth = len(widths)
        before = 3
        for i, width in enumerate(widths, start=1):
            self._add_stage(self.encoder, i, before, width)
            before = width
        for i, width in enumerate(reversed(widths[:-1]), start=1):
            self.decoder[f"upsample{i}"] = nn.ConvTranspose2d(before, before // 2, 2, 2)
            self._add_stage(self.decoder, i, before // 2 + width, width)
            before = width
        self.head = nn.Conv2d(before, CLASSES, 1)

    def _add_stage(self, part: nn.ModuleDict, i: int, before: int, width: int) -> None:
        for j, channels in enumerate((before, width), start=1):
            block = nn.Sequential()
            block.add_module("conv", nn.Conv2d(channels, width, 3, 1, 1, bias=False))
            block.add_module("norm", nn.BatchNorm2d(width))
            block.add_module("activation", nn.ReLU(inplace=True))
            part[f"stage{i}_conv{j}"] = block

    def _stage(self, part: nn.ModuleDict, i: int, x: torch.Tensor) -> torch.Tensor:
        return part[f"stage{i}_conv2"](part[f"stage{i}_conv1"](x))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map `[B, 3, H, W]` to the logits `out`, `[B, classes, H, W]`."""
        skips = [self._stage(self.encoder, 1, x)]
        for i in range(2, self.depth + 1):
            skips.append(self._stage(self.encoder, i, F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for i, skip in enumerate(reversed(skips), start=1):
            x = torch.cat([skip, self.decoder[f"upsample{i}"](x)], 1)
            x = self._stage(self.decoder, i, x)
        return {"out": self.head(x)}


class Loss(nn.Module):
    """A model with its loss, compiled as one for training."""

    def __init__(self, model: nn.Module, bfloat16: bool) -> None:
        super().__init__()
        self.model, self.bfloat16 = model, bfloat16

    def forward(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the loss of images `[B, 3, H, W]` with labels `[B, H, W]`."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.bfloat16):
            outputs = self.model(image)
        loss = F.cross_entropy(outputs["out"].float(), label, ignore_index=IGNORED)
        if "aux" in outputs:
            aux = F.cross_entropy(outputs["aux"].float(), label, ignore_index=IGNORED)
            loss = loss + AUX_WEIGHT * aux
        return loss


class Mask(nn.Module):
    """A model with argmax, compiled as one for inference."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if hasattr(model, "aux_classifier"):
            model.aux_classifier = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the classes `[B, H, W]` uint8 of images `[B, 3, H, W]`."""
        return self.model(image)["out"].argmax(1).to(torch.uint8)


def torch_model(name: str) -> nn.Module:
    """Return the torch model of a name in `MODELS`, with seed 0 and without dropout."""
    torch.manual_seed(0)
    if name.startswith("unet"):
        return UNet(MODELS[name]["widths"])
    from torchvision.models import segmentation

    model = getattr(segmentation, name)(
        weights=None, weights_backbone=None, num_classes=CLASSES, aux_loss=True
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def our_model(peer: nn.Module, config: ConfigDict) -> tuple[Segmenter, dict[str, Any]]:
    """Return the same model in fcnjax with the weights of the torch model.

    Raises:
        ValueError: A variable has no weight in the torch model.
    """
    model = build_model(config)
    wanted = jax.eval_shape(lambda: init_variables(model, config))
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in peer.state_dict().items()}
    if not isinstance(peer, UNet):
        names = (config.model.encoder, config.model.decoder)
        variables, report = convert(tensors, wanted, model, names)
        if report.missing or report.adapted:
            raise ValueError(f"the peer's weights do not fill the model: {report}")
        return model, jax.tree.map(jnp.asarray, variables)
    filled = {}
    for path, leaf in flatten_dict(wanted).items():
        value = tensors[".".join((*path[1:-1], LEAVES.get(path[-1], path[-1])))]
        if value.ndim == 4:
            value = value.transpose((2, 3, 0, 1) if "transposed" in path[-1] else (2, 3, 1, 0))
        if value.shape != leaf.shape:
            raise ValueError(f"{'/'.join(path)}: {value.shape} for {leaf.shape}")
        filled[path] = jnp.asarray(value)
    return model, unflatten_dict(filled)


def optimizer_of(model: nn.Module, config: ConfigDict) -> torch.optim.Optimizer:
    """Return SGD as in fcnjax, without decay of norms and biases."""
    parameters = list(model.parameters())
    groups = [
        {
            "params": [p for p in parameters if p.ndim > 1],
            "weight_decay": config.optim.weight_decay,
        },
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    fused = parameters[0].is_cuda
    return torch.optim.SGD(groups, config.optim.lr, momentum=config.optim.momentum, fused=fused)


def examples(
    size: tuple[int, int], batch: int, config: ConfigDict, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images `[B, H, W, 3]` uint8, the same as normalized float32, and uint8 labels."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (batch, *size, 3)).astype(np.uint8)
    label = rng.integers(0, CLASSES, (batch, *size)).astype(np.uint8)
    label[rng.random(label.shape) < 0.05] = IGNORED
    normal = (image / 255 - np.asarray(config.data.mean)) / np.asarray(config.data.std)
    return image, normal.astype(np.float32), label
