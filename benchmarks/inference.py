"""Compares the inference time of fcnjax and PyTorch for the same weights, images and device.

    python benchmarks/inference.py                          on the GPU: 16 of 512x512, bfloat16
    python benchmarks/inference.py --batch=1                latency
    python benchmarks/inference.py --device=cpu             small, in float32

Needs torch and torchvision. A call starts with an image on the device and ends with the class of
each pixel on the device. fcnjax reads uint8 images and normalizes them; torch receives normalized
images. Before the timing, both must predict the same masks up to rounding. Modes of torch: eager,
compile, frozen (compiled with constant weights) and graphs (compiled into CUDA graphs).

--command-buffers lets XLA capture convolutions into CUDA graphs, which it does not do by default,
since some cuDNN convolutions cannot be captured and then fail.
"""

import argparse
import sys

import options

# XLA's default list and CONVOLUTION.
CAPTURED = "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONVOLUTION"


def main() -> None:
    """Compare the models and print a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    forms = {"cpu": "eager,compile", "cuda": "eager,compile,frozen,graphs"}
    parser.add_argument("--command-buffers", action="store_true", help="capture convolutions")
    options.run(options.parse(parser, forms), compare)


def compare(name: str, args: argparse.Namespace) -> tuple[str, list[dict]]:
    """Return the table of one model and its rows."""
    import peers
    import subjects
    from timing import table, time_in_turn

    config = subjects.our_config(name, args.size, args.batch, args.dtype == "bfloat16")
    peer = peers.torch_model(name).eval()
    data = peers.examples(args.size, args.batch, config)
    ours, mask, operations = our_contender(peer, config, data, args)
    contenders = [ours]
    for form in args.torch:
        contender, other = torch_contender(name, form, data, args)
        check_masks(mask, other, contender.name)
        contenders.append(contender)
    time_in_turn(contenders, args.chunks)
    return table(contenders, args.batch, operations, args.peak_tflops)


def check_masks(ours, theirs, name: str) -> None:
    """Exit if the predicted masks differ."""
    share = (ours == theirs).mean()
    print(f"  {share:.3%} of the pixels as {name}")
    if share < 0.97:
        sys.exit("the masks differ: not the same model")


def our_contender(peer, config, data, args):
    """Return fcnjax as a contender, its first masks and the operations per call."""
    import jax
    import numpy as np
    import peers
    import subjects
    from timing import Contender, warmed

    from fcnjax.models import make_fold_fn
    from fcnjax.training.step import make_predict_step

    model, variables = peers.our_model(peer, config)
    variables = make_fold_fn(model)(variables)
    step = make_predict_step(model, config)
    captured = {"xla_gpu_enable_command_buffer": CAPTURED} if args.command_buffers else None
    predict = jax.jit(
        lambda *given: step(*given)["mask"].astype("uint8"), compiler_options=captured
    )
    image = jax.device_put(data[0])
    masks = [None]

    def call():
        masks[0] = predict(variables, image)

    contender = warmed(Contender("fcnjax", call, lambda: jax.block_until_ready(masks[0])))
    stats = jax.local_devices()[0].memory_stats() or {}
    contender.peak_bytes = stats.get("peak_bytes_in_use")
    return (
        contender,
        np.asarray(masks[0]),
        2 * args.batch * subjects.forward_products(model, args.size),
    )


def torch_contender(name, form, data, args):
    """Return a mode of torch as a contender, and its first masks."""
    import peers
    import torch
    import torch._inductor.config as inductor
    from timing import Contender, warmed

    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    cuda = args.device == "cuda"
    dtype = getattr(torch, args.dtype)
    inductor.freezing = form == "frozen"
    mask_of = peers.Mask(peers.torch_model(name)).eval().to(args.device, dtype)
    mask_of = mask_of.to(memory_format=torch.channels_last)
    if form != "eager":
        mode = "reduce-overhead" if form == "graphs" else None
        mask_of = torch.compile(mask_of, dynamic=False, mode=mode)
    image = torch.from_numpy(data[1]).permute(0, 3, 1, 2).to(args.device, dtype)
    image = image.contiguous(memory_format=torch.channels_last)
    masks = [None]

    def call():
        with torch.inference_mode(form != "frozen"), torch.no_grad():
            masks[0] = mask_of(image)

    wait = torch.cuda.synchronize if cuda else lambda: None
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    contender = warmed(Contender(f"torch {form}", call, wait))
    if cuda:
        contender.peak_bytes = torch.cuda.max_memory_allocated()
    return contender, masks[0].cpu().numpy()


if __name__ == "__main__":
    main()
