"""`fcnjax publish`: write a trained model as a folder to share."""

from fcnjax.cli.parsers import add_model, add_step, make_parser, parse_step


def main(argv: list[str]) -> int:
    """Run `fcnjax publish`."""
    parser = make_parser(
        "publish",
        "Write a trained model as a folder to share: weights as safetensors, config, "
        "scores and a model card. The folder can be used like a workdir, also from the Hugging "
        "Face hub, as --model=hf://OWNER/NAME.",
        "fcnjax publish --model=runs/stare --out=vessels --license=apache-2.0",
    )
    add_model(parser, required=True)
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    add_step(parser)
    parser.add_argument("--name", help="name of the model in its card (the folder's name)")
    parser.add_argument("--license", metavar="ID", help="licence, as the hub names it: mit, ...")
    parser.add_argument(
        "--dataset", metavar="NAME", help="dataset of the training; OWNER/NAME if on the hub"
    )
    args = parser.parse_args(argv)

    from fcnjax.publishing.publish import publish

    out = publish(
        args.model,
        args.out,
        parse_step(args.step),
        name=args.name,
        license_id=args.license,
        dataset=args.dataset,
    )
    files = ", ".join(sorted(path.name for path in out.iterdir()))
    print(f"{out}: {files}")
    print(f"to upload it (pip install huggingface_hub; hf auth login): hf upload OWNER/NAME {out}")
    return 0
