"""Hashes of the programs of 20 models, to show that a change of the code changes none of them.

    python benchmarks/step_programs.py before.json              at one commit
    python benchmarks/step_programs.py after.json before.json   at another: prints what differs

For each model: the StableHLO of its training step and of its predict step (with and without an
extent), lowered for CPUs and for CUDA, with the names of functions replaced by numbers; and the
paths, shapes and types of its variables and optimizer state. Nothing is compiled or run.
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

# Encoder, decoder, changes of the config.
MODELS = (
    ("vanilla", "unet", ()),
    ("resnet18", "unet", ()),
    ("resnet50", "deeplabv3", ()),
    ("resnet50", "pspnet", ()),
    ("vgg16", "fcn8s", ()),
    ("resnet18", "fpn", ()),
    ("resnet18", "linknet", ()),
    ("resnet18", "unetplusplus", ()),
    ("vgg16", "segnet", ()),
    ("fcdensenet56", "fcdensenet", ()),
    ("mit_b0", "segformer", ()),
    ("mobilenet_v3_large", "lraspp", ()),
    ("convnext_tiny", "upernet", ()),
    ("densenet121", "unet_smp", ()),
    ("efficientnet_b0", "unet_smp", ()),
    ("resnet50", "deeplabv3plus", ()),
    ("resnet50", "fcn_head", ()),
    ("mobilenet_v2", "unet", ()),
    (
        "resnet18",
        "unet",
        (
            *("optim.ema_decay=0.9", "optim.name=sgd", "loss.dice=1"),
            *("augment.mixup=0.5", "augment.rotation=10", "augment.elastic=2"),
        ),
    ),
    (
        "resnet18",
        "unet",
        (
            *("model.norm=group", "optim.name=lion", "loss.cross_entropy=0", "loss.dice=1"),
            *("loss.lovasz=1", "loss.boundary=0.1", "loss.binary_cross_entropy=1"),
            *("model.head=sigmoid", "train.accumulate=2", "optim.freeze=encoder/.*"),
        ),
    ),
)
PLATFORMS = ("cpu", "cuda")


def main() -> int:
    """Write the hashes; return 1 if they differ from those of a file."""
    hashes = {}
    for encoder, decoder, changes in MODELS:
        name = " ".join([f"{decoder} over {encoder}", *changes])
        config = model_config(encoder, decoder, changes)
        hashes[name] = {"state": digest("\n".join(state_paths(config)))} | program_hashes(config)
        print(name, hashes[name], flush=True)
    Path(sys.argv[1]).write_text(json.dumps(hashes, indent=1))
    if len(sys.argv) < 3:
        return 0
    before = json.loads(Path(sys.argv[2]).read_text())
    differing = [
        f"{name}: {key}"
        for name, values in hashes.items()
        for key in values
        if before.get(name, {}).get(key) != values[key]
    ]
    print("\n".join(differing) or "no program differs")
    return bool(differing)


def model_config(encoder: str, decoder: str, changes: tuple[str, ...]) -> Any:
    """Return the config of a model."""
    from fcnjax.config import load_config

    classes = "a,b" if "model.head=sigmoid" in changes else "a,b,c"
    words = [f"model.encoder={encoder}", f"model.decoder={decoder}", f"data.class_names={classes}"]
    words += ["augment.crop=64,64", "train.batch_size=4"]
    if encoder != "vanilla":
        words += ["model.widths=None", "model.upsample=None"]
    return load_config("folder", [f"--config.{word}" for word in (*words, *changes)])


def state_paths(config: Any) -> list[str]:
    """Return a line for each array of the training state: its path, shape and type."""
    import jax

    from fcnjax.models import build_model
    from fcnjax.optim import make_optimizer
    from fcnjax.training.state import state_shapes

    shapes = state_shapes(build_model(config), make_optimizer(config), config)
    leaves, _ = jax.tree_util.tree_flatten_with_path(shapes)
    return [f"{jax.tree_util.keystr(path)} {x.shape} {x.dtype}" for path, x in leaves]


def program_hashes(config: Any) -> dict[str, str]:
    """Return the hash of each program of a model."""
    import jax
    import jax.numpy as jnp

    from fcnjax.models import Platform, build_model, compile_for
    from fcnjax.optim import make_optimizer
    from fcnjax.parallel.mesh import make_mesh
    from fcnjax.training import step as steps
    from fcnjax.training.state import state_shapes

    array = jax.ShapeDtypeStruct
    model, optimizer, mesh = build_model(config), make_optimizer(config), make_mesh(config)
    state = state_shapes(model, optimizer, config)
    batch = {
        "image": array((4, 96, 96, 3), jnp.uint8),
        "label": array((4, 96, 96), jnp.uint8),
        "bounds": array((4, 4), jnp.int32),
        "valid": array((4,), jnp.bool_),
    }
    padded = array((2, 70, 50, 3), jnp.uint8), array((2, 2), jnp.int32)
    full = (array((2, 64, 64, 3), jnp.uint8),)
    # The layout of the state is chosen by the compiler, and is not part of StableHLO.
    steps.AutoLayoutStep = lambda jitted: jitted
    hashes = {}
    for platform in PLATFORMS:
        steps.mesh_platform = lambda mesh, name=platform: Platform(name, mesh.shape["spatial"])
        train_step = steps.make_train_step(model, optimizer, config, mesh)
        predict_step = jax.jit(
            compile_for(Platform(platform))(steps.make_predict_step(model, config))
        )
        traces = {
            "train": train_step.trace(state, batch),
            "predict": predict_step.trace(state.variables, *padded),
            "predict full": predict_step.trace(state.variables, *full),
        }
        for name, trace in traces.items():
            text = trace.lower(lowering_platforms=(platform,)).as_text()
            hashes[f"{name} {platform}"] = digest(normalise(text))
    return hashes


def normalise(program: str) -> str:
    """Replace the names of functions by their order; remove locations and the module's name."""
    numbers: dict[str, int] = {}

    def number(match: re.Match) -> str:
        return f"@f{numbers.setdefault(match[0], len(numbers))}"

    program = re.sub(r"@[\w.$]+", number, program)
    program = re.sub(r"module @\S+", "module", program)
    return re.sub(r'jax\.result_info = "[^"]*"|loc\([^)]*\)', "", program)


def digest(text: str) -> str:
    """Return the first 16 digits of a SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
