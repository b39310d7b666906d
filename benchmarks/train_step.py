"""Compares the training step of fcnjax and PyTorch for the same weights, images and device.

    python benchmarks/train_step.py                          on the GPU: 16 of 512x512, bfloat16
    python benchmarks/train_step.py --device=cpu             small, in float32
    python benchmarks/train_step.py --models=unet --out=unet.json
    python benchmarks/train_step.py --remat --torch=none     less memory for activations

Needs torch and torchvision. A step is that of a real run: fcnjax reads uint8 images, normalizes
them on the device, computes the cross-entropy at full resolution (plus half of that of an auxiliary
head) and its gradient, and updates with SGD. torch receives normalized images. Before the timing,
both must compute the same loss. They are timed alternately in chunks, and the medians are compared.
"""

import argparse
import sys

import options


def main() -> None:
    """Compare the models and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remat", action="store_true", help="set config.model.remat")
    forms = dict.fromkeys(("cpu", "cuda"), "eager,compile")
    options.run(options.parse(parser, forms), compare)


def compare(name: str, args: argparse.Namespace) -> tuple[str, list[dict]]:
    """Return the table of one model and its rows."""
    import peers
    import subjects
    from timing import table, time_in_turn

    config = subjects.our_config(name, args.size, args.batch, args.dtype == "bfloat16")
    config.model.remat = args.remat
    peer = peers.torch_model(name)
    data = peers.examples(args.size, args.batch, config)
    ours, losses, operations = our_contender(peer, config, data, args)
    forms = [torch_contender(name, form, config, data, args) for form in args.torch]
    for form, loss in forms:
        check_loss(losses, loss, form.name, args.dtype)
    contenders = [ours, *(form for form, _ in forms)]
    time_in_turn(contenders, args.chunks)
    return table(contenders, args.batch, operations, args.peak_tflops)


def check_loss(ours: float, theirs: float, name: str, dtype: str) -> None:
    """Exit if the losses differ."""
    bound = 2e-2 if dtype == "bfloat16" else 1e-4
    print(f"  first loss {ours:.6f}, {name} {theirs:.6f}")
    if not abs(ours - theirs) <= bound * abs(theirs):
        sys.exit(f"the losses differ by more than {bound:g} of them: not the same model")


def our_contender(peer, config, data, args):
    """Return fcnjax as a contender, its first loss and the operations per step."""
    import jax
    import peers
    import subjects
    from timing import Contender, warmed

    from fcnjax.optim import make_optimizer
    from fcnjax.parallel.mesh import batch_sharding, make_mesh
    from fcnjax.training.state import init_state
    from fcnjax.training.step import make_train_step

    model, variables = peers.our_model(peer, config)
    image, _, label = data
    bounds = jax.numpy.tile(jax.numpy.asarray((0, 0, *label.shape[1:])), (args.batch, 1))
    valid = jax.numpy.ones(args.batch, bool)
    batch = {"image": image, "label": label, "bounds": bounds, "valid": valid}
    mesh = make_mesh(config)
    batch = jax.device_put(batch, batch_sharding(mesh))
    optimizer = make_optimizer(config)
    held = {"state": jax.jit(lambda v: init_state(v, optimizer, config))(variables)}
    step = make_train_step(model, optimizer, config, mesh)
    losses = []

    def call():
        held["state"], metrics = step(held["state"], batch)
        losses.append(metrics["loss"])

    contender = warmed(Contender("fcnjax", call, lambda: jax.block_until_ready(losses[-1])))
    stats = jax.local_devices()[0].memory_stats() or {}
    contender.peak_bytes = stats.get("peak_bytes_in_use")
    # The backward pass has two matrix products for each one of the forward pass.
    products = 3 * args.batch * subjects.forward_products(model, args.size)
    return contender, float(losses[0]), 2 * products


def torch_contender(name, form, config, data, args):
    """Return a mode of torch as a contender, and its first loss."""
    import peers
    import torch
    from timing import Contender, warmed

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    cuda = args.device == "cuda"
    model = peers.torch_model(name).to(args.device, memory_format=torch.channels_last).train()
    loss_of = peers.Loss(model, args.dtype == "bfloat16")
    if form != "eager":
        loss_of = torch.compile(loss_of, dynamic=False)
    optimizer = peers.optimizer_of(model, config)
    _, normal, label = data
    image = torch.from_numpy(normal).permute(0, 3, 1, 2).to(args.device)
    image = image.contiguous(memory_format=torch.channels_last)
    label = torch.from_numpy(label).long().to(args.device)
    losses = []
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def call():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(image, label)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())

    wait = torch.cuda.synchronize if cuda else lambda: None
    contender = warmed(Contender(f"torch {form}", call, wait))
    if cuda:
        contender.peak_bytes = torch.cuda.max_memory_allocated()
    return contender, float(losses[0])


if __name__ == "__main__":
    main()
