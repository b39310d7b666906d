"""Where the layers of Mix Transformers and of SegFormer's decoder lie in published files."""

from flax import linen as nn

Path = tuple[str, ...]
_BLOCK = {
    ("norm1",): "norm1",
    ("attention", "query"): "attn.q",
    ("attention", "key_value"): "attn.kv",
    ("attention", "project"): "attn.proj",
    ("attention", "reduce"): "attn.sr",
    ("attention", "reduce_norm"): "attn.norm",
    ("norm2",): "norm2",
    ("expand",): "mlp.fc1",
    ("depthwise",): "mlp.dwconv.dwconv",
    ("contract",): "mlp.fc2",
}


def mit(encoder: nn.Module, path: Path) -> str | None:
    """Of NVIDIA's own files; smp's are the same."""
    del encoder
    first, *rest = path
    if first.startswith("embed"):
        number, _, norm = first.removeprefix("embed").partition("_")
        return f"patch_embed{number}.{norm or 'proj'}"
    number, _, part = first.removeprefix("stage").partition("_")
    if part == "norm":
        return f"norm{number}"
    return f"block{number}.{part.removeprefix('block')}.{_BLOCK[tuple(rest)]}"


def smp_segformer(decoder: nn.Module, path: Path) -> str | None:
    """Of smp's SegFormer."""
    del decoder
    match path:
        case ("fuse", part):
            return f"decoder.fuse_stage.{0 if part == 'conv' else 1}"
        case (project,):
            return f"decoder.mlp_stage.{project.removeprefix('project')}.linear"
    return None
