"""The code uses the standard terms of the field, and docstrings begin as NumPy writes them."""

import ast
import re
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "fcnjax"
# Names of earlier versions, and the term that replaces each.
REPLACED = {
    "slope_of": "grad_fn",
    "make_slope": "make_grad_fn",
    "moving": "trainable_mask",
    "make_moving": "trainable_mask",
    "at_rest": "frozen_norms, batch_norm_inference",
    "norms_at_rest": "frozen_norms",
    "make_at_rest": "batch_norm_inference",
    "traced_for": "compile_for",
    "stated": "platform",
    "whole": "the property: replicated, full, complete",
    "own": "the thing: config, is_gpu, ...",
    "OwnLayout": "AutoLayoutStep",
    "over_devices": "shard_height",
    "place": "key, index, path or position",
    "Place": "ProcessInfo",
    "data_place": "process_shard",
    "on_first": "broadcast_from_primary",
    "must_wait": "needs_sync",
    "say": "log",
    "said": "log, output",
    "told": "metadata",
    "given": "args, or the thing that is passed",
    "found": "the thing that is found",
    "asked": "requested",
    "phases": "space_to_batch",
    "phases_of": "space_to_batch_factor",
    "winners": "first_argmax",
    "crop_or_extend": "crop_or_pad_like",
    "bare_likes": "size_templates",
    "Entry": "ModelSpec",
    "Mixed": "MixedBatch",
    "sought_corner": "sample_class_crop",
    "other_side": "flip_permutation",
    "Tally": "ProgressBar, SkipLog, DatasetStatistics, Accumulator",
    "tally": "ProgressBar, SkipLog, DatasetStatistics, Accumulator",
    "label_images": "predict_images",
    "Labelled": "PredictedImage",
    "labeller": "predictor",
    "Averaged": "Ensemble",
    "way": "handler",
    "doctor": "validate",
    "is_counted": "valid_mask",
    "stones": "milestones",
}


def identifiers(tree):
    """Yield the line and the name of each definition, argument, variable and import."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias():
                yield node.lineno, node.asname or node.name.rpartition(".")[2]


def docstrings(tree):
    """Yield the line and the docstring of the module and of each function and class."""
    for node in ast.walk(tree):
        documented = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        if isinstance(node, documented) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def parsed():
    """Yield the path in the repository and the syntax tree of each module of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE.parent), ast.parse(path.read_text(encoding="utf-8"))


def test_identifiers_are_standard_terms():
    offenders = [
        f"{path}:{line}: {name}: use {REPLACED[name.lstrip('_')]}"
        for path, tree in parsed()
        for line, name in identifiers(tree)
        if name.lstrip("_") in REPLACED
    ]
    assert not offenders, "\n".join(offenders)


def test_docstrings_open_with_a_verb_or_a_noun():
    offenders = [
        f"{path}:{line}: {text.splitlines()[0]}"
        for path, tree in parsed()
        for line, text in docstrings(tree)
        if re.match(r"(what|whether|how|where|which)\b", text, re.IGNORECASE)
    ]
    assert not offenders, "\n".join(offenders)


def test_file_names_are_standard_terms():
    assert not [path for path, _ in parsed() if path.stem in REPLACED]
