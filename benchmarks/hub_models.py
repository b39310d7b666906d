"""Small models of transformers with drawn weights, and their outputs, for tests/published.

`python benchmarks/reference_outputs.py hub/NAME ... --out=DIR` writes DIR/NAME for each:

- `config.json`, `preprocessor_config.json` and `image.png`, as in a published model;
- `tensors.json`: the salt, and the shape of each tensor by its name, from which
  `reference_outputs.draw_tensor` draws the weights;
- `expected.npz`: `pixels`, the images that the model sees, before they are normalised; for each
  output of the model the shape, the standard deviation and sampled values; and `semantic`
  `[H, W]`, the mask after post-processing.

Weights are drawn with other salts until no class covers 70 % of the mask.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from planner_smp import define_torchvision_operators
from reference_outputs import draw_tensor
from safetensors.numpy import load_file, save_file

try:
    import torchvision  # noqa: F401
except RuntimeError:
    define_torchvision_operators()
import transformers

MOST_SALTS = 40
LARGEST_SHARE = 0.7
SAMPLES = 512
LABELS = ("wall", "building", "sky", "floor", "tree")


class Spec(NamedTuple):
    """A small model.

    Attributes:
        architecture: Its class in transformers.
        config: The arguments of its config, without classes.
        processor: The class of its processor.
        preprocessing: The arguments of the processor.
        image: Height and width of the image.
        backbone: The class and the arguments of the config of its backbone.
    """

    architecture: str
    config: Mapping[str, Any]
    processor: str
    preprocessing: Mapping[str, Any]
    image: tuple[int, int]
    backbone: tuple[str, Mapping[str, Any]] | None = None


_STAGES = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
_SWIN = (
    "SwinConfig",
    {"embed_dim": 8, "depths": [1, 2, 1, 1], "num_heads": [1, 2, 2, 4]} | _STAGES,
)
_VIT = {"hidden_size": 16, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
SPECS: Mapping[str, Spec] = {
    "segformer": Spec(
        "SegformerForSemanticSegmentation",
        {
            **{"depths": [1, 2, 1, 1], "hidden_sizes": [8, 12, 16, 20]},
            **{"num_attention_heads": [1, 2, 2, 5], "sr_ratios": [4, 4, 2, 1]},
            **{"mlp_ratios": [4, 3, 2, 4], "decoder_hidden_size": 12},
        },
        "SegformerImageProcessor",
        {"size": {"height": 60, "width": 76}},
        (47, 90),
    ),
    "upernet_convnext": Spec(
        "UperNetForSemanticSegmentation",
        {"hidden_size": 8, "auxiliary_channels": 4, "pool_scales": [1, 2, 4]},
        "SegformerImageProcessor",
        {"size": {"height": 64, "width": 48}},
        (80, 61),
        ("ConvNextConfig", {"depths": [1, 1, 1, 2], "hidden_sizes": [6, 8, 12, 16]} | _STAGES),
    ),
    "upernet_swin": Spec(
        "UperNetForSemanticSegmentation",
        {"hidden_size": 8, "auxiliary_channels": 4},
        "SegformerImageProcessor",
        {"size": {"height": 52, "width": 72}},
        (70, 64),
        (_SWIN[0], _SWIN[1] | {"window_size": 5}),
    ),
    "beit": Spec(
        "BeitForSemanticSegmentation",
        {
            **_VIT,
            **{"num_hidden_layers": 4, "intermediate_size": 24, "out_indices": [1, 2, 3, 4]},
            **{"use_relative_position_bias": True, "layer_scale_init_value": 0.1},
            **{"use_auxiliary_head": False},
        },
        "BeitImageProcessor",
        {"size": {"height": 32, "width": 32}, "do_center_crop": False},
        (50, 41),
    ),
    "data2vec": Spec(
        "Data2VecVisionForSemanticSegmentation",
        {
            **_VIT,
            **{"num_hidden_layers": 4, "intermediate_size": 24, "out_indices": [1, 2, 3, 4]},
            **{"use_shared_relative_position_bias": True, "use_auxiliary_head": False},
        },
        "BeitImageProcessor",
        {"size": {"height": 32, "width": 32}, "do_center_crop": False},
        (44, 60),
    ),
    "dpt_vit": Spec(
        "DPTForSemanticSegmentation",
        {
            **_VIT,
            **{
                "num_hidden_layers": 4,
                "intermediate_size": 24,
                "backbone_out_indices": [0, 1, 2, 3],
            },
            **{"neck_hidden_sizes": [6, 8, 10, 12], "fusion_hidden_size": 8},
            **{"is_hybrid": False, "backbone_config": None, "readout_type": "add"},
        },
        "DPTImageProcessor",
        {
            **{"size": {"height": 42, "width": 39}, "ensure_multiple_of": 8},
        },
        (50, 70),
    ),
    "mobilenet_v2": Spec(
        "MobileNetV2ForSemanticSegmentation",
        {"depth_multiplier": 0.2, "output_stride": 16, "min_depth": 4, "depth_divisible_by": 4},
        "MobileNetV2ImageProcessor",
        {
            **{"size": {"shortest_edge": 49}, "crop_size": {"height": 45, "width": 45}},
            "do_center_crop": True,
        },
        (60, 74),
    ),
    "mobilevit": Spec(
        "MobileViTForSemanticSegmentation",
        {
            **{"hidden_sizes": [8, 12, 16], "neck_hidden_sizes": [4, 8, 8, 8, 12, 12, 16]},
            **{"num_attention_heads": 2, "aspp_out_channels": 8, "output_stride": 16},
            **{"atrous_rates": [2, 3, 4], "image_size": 48},
        },
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 52}, "crop_size": {"height": 48, "width": 48}},
        (64, 80),
    ),
    "mobilevitv2": Spec(
        "MobileViTV2ForSemanticSegmentation",
        {
            **{"width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1], "aspp_out_channels": 8},
            **{"atrous_rates": [2, 3, 4], "base_attn_unit_dims": [32, 32, 64], "image_size": 48},
        },
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 48}, "do_center_crop": False},
        (60, 50),
    ),
    "mask2former": Spec(
        "Mask2FormerForUniversalSegmentation",
        {
            **{"hidden_dim": 32, "feature_size": 32, "mask_feature_size": 16, "num_queries": 6},
            **{"encoder_layers": 2, "decoder_layers": 3, "num_attention_heads": 2},
            **{"encoder_feedforward_dim": 24, "dim_feedforward": 32},
        },
        "Mask2FormerImageProcessor",
        {"size": {"height": 64, "width": 64}, "num_labels": len(LABELS)},
        (48, 72),
        (_SWIN[0], _SWIN[1] | {"window_size": 4}),
    ),
    "eomt": Spec(
        "EomtForUniversalSegmentation",
        {
            **{"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3},
            **{"num_blocks": 1, "num_queries": 5, "num_register_tokens": 2, "patch_size": 8},
            **{"image_size": 40, "mlp_ratio": 2, "layerscale_value": 0.5, "num_upscale_blocks": 1},
        },
        "EomtImageProcessor",
        {
            "size": {"shortest_edge": 40, "longest_edge": None},
            "do_split_image": True,
            "do_pad": False,
        },
        (50, 90),
    ),
    "eomt_dinov3": Spec(
        "EomtDinov3ForUniversalSegmentation",
        {
            **{"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 3},
            **{"num_blocks": 1, "num_queries": 5, "num_register_tokens": 2, "patch_size": 8},
            **{"image_size": 32, "intermediate_size": 24, "layerscale_value": 0.5},
            "num_upscale_blocks": 1,
        },
        "EomtImageProcessor",
        {
            "size": {"shortest_edge": 32, "longest_edge": None},
            "do_split_image": True,
            "do_pad": False,
        },
        (60, 40),
    ),
}


def write_model(name: str, folder: Path, write_weights: bool, dtype: torch.dtype) -> None:
    """Write the small model of a name.

    Args:
        name: A key of `SPECS`.
        folder: The folder to write.
        write_weights: Whether to write the weights too, as `model.safetensors`.
        dtype: The type of the computation, after the images are prepared.
    """
    spec = SPECS[name]
    processor = getattr(transformers, spec.processor)(**spec.preprocessing)
    image = _image(name, spec.image)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / "image.png")
    processor.save_pretrained(folder)
    # The names of tensors in files differ from those of modules.
    _model(spec).save_pretrained(folder)
    weights = folder / "model.safetensors"
    shapes = {key: list(tensor.shape) for key, tensor in load_file(weights).items()}
    for salt in map(str, range(MOST_SALTS)):
        tensors = {key: draw_tensor(salt + key, shape) for key, shape in shapes.items()}
        if "attn_mask_probs" in tensors:  # masked attention is for training
            tensors["attn_mask_probs"] *= 0
        save_file(tensors, weights, metadata={"format": "pt"})
        model = getattr(transformers, spec.architecture).from_pretrained(folder, dtype=dtype).eval()
        outputs, semantic = _run(model, processor, image)
        if np.bincount(semantic.ravel()).max() <= LARGEST_SHARE * semantic.size:
            break
    else:
        raise SystemExit(f"{name}: a class covers over 70 % of each mask; change the model")
    if not write_weights:
        weights.unlink()
    (folder / "tensors.json").write_text(json.dumps({"salt": salt, "shapes": shapes}) + "\n")
    np.savez_compressed(folder / "expected.npz", semantic=semantic.astype(np.uint8), **outputs)


def _model(spec: Spec) -> torch.nn.Module:
    labels = {
        "id2label": dict(enumerate(LABELS)),
        "label2id": {name: i for i, name in enumerate(LABELS)},
    }
    options = dict(spec.config) | labels
    if spec.backbone is not None:
        kind, arguments = spec.backbone
        options["backbone_config"] = getattr(transformers, kind)(**arguments)
    kind = getattr(transformers, spec.architecture)
    return kind(kind.config_class(**options)).eval()


def _image(name: str, size: tuple[int, int]) -> np.ndarray:
    """Return smooth noise, uint8 `[H, W, 3]`."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    smooth = np.asarray(noise.resize(size[::-1], Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def _run(model: torch.nn.Module, processor: Any, image: np.ndarray) -> tuple[dict, np.ndarray]:
    inputs = processor(images=Image.fromarray(image), return_tensors="pt")
    inputs.pop("pixel_mask", None)
    pixels = inputs["pixel_values"].to(model.dtype)
    with torch.no_grad():
        result = model(**(inputs | {"pixel_values": pixels}))
    sizes = [image.shape[:2]]
    semantic = processor.post_process_semantic_segmentation(result, target_sizes=sizes)[0].numpy()
    outputs = {"pixels": _pixels(inputs["pixel_values"].numpy(), processor)}
    for name in ("logits", "class_queries_logits", "masks_queries_logits"):
        if (value := getattr(result, name, None)) is not None:
            outputs |= _sample(name, value.numpy())
    return outputs, semantic


def _pixels(values: np.ndarray, processor: Any) -> np.ndarray:
    """Return the images of a processor before the normalisation, uint8 `[B, h, w, 3]` in RGB."""
    values = values.transpose(0, 2, 3, 1)
    if processor.do_normalize:
        values = values * np.asarray(processor.image_std) + np.asarray(processor.image_mean)
    pixels = np.rint(values * 255)
    if getattr(processor, "do_flip_channel_order", False):
        pixels = pixels[..., ::-1]
    return pixels.astype(np.uint8)


def _sample(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    index = np.random.default_rng(1).choice(array.size, min(SAMPLES, array.size), replace=False)
    return {
        f"{name}_shape": np.asarray(array.shape),
        f"{name}_std": array.std(),
        f"{name}_index": index,
        f"{name}_value": array.reshape(-1)[index],
    }
