"""The keys of `config.loss`: the weight of each term, and the options of the terms."""

from fcnjax.config.key import Key, above, at_least, below, one_of, within


def _term(meaning: str, default: float = 0.0) -> Key:
    return Key(default, f"Weight of {meaning}.", at_least(0))


LOSS = {
    "cross_entropy": _term("the cross-entropy, for `model.head=softmax`", 1.0),
    "ohem_cross_entropy": _term(
        "the cross-entropy of the hardest pixels, for `model.head=softmax`"
    ),
    "binary_cross_entropy": _term("the binary cross-entropy, for `model.head=sigmoid`"),
    "focal": _term("the focal loss"),
    "dice": _term("the Dice loss"),
    "generalised_dice": _term("the generalised Dice loss"),
    "jaccard": _term("the Jaccard loss"),
    "tversky": _term("the Tversky loss"),
    "focal_tversky": _term("the focal Tversky loss"),
    "unified_focal": _term("the asymmetric unified focal loss"),
    "lovasz": _term("the Lovasz-Softmax loss, or the Lovasz hinge for `model.head=sigmoid`"),
    "boundary": _term("the boundary loss, in pixels: about 0.01 beside another term"),
    "cldice": _term("the clDice loss of centrelines, beside `dice`"),
    "aux": Key(
        0.4,
        "Weight of the mean over the auxiliary heads of the sum of the same terms.",
        at_least(0),
    ),
    "class_weights": Key((), "The weight of each class's pixels; () for none."),
    "balance": Key(
        "none",
        "Compute `class_weights` from the pixels of each class in the training images, at the "
        "start of the run.",
        one_of("none", "median", "inverse", "sqrt"),
    ),
    "label_smoothing": Key(0.0, "Label smoothing.", below(1), used_by=("cross_entropy",)),
    "border_weight": Key(
        0.0,
        "U-Net's w0, the weight of gaps between objects; 0 for none. U-Net has 10.",
        at_least(0),
        used_by=("cross_entropy",),
    ),
    "border_sigma": Key(
        5.0, "U-Net's sigma of that weight, in pixels.", above(0, 100), used_by=("cross_entropy",)
    ),
    "ohem_fraction": Key(
        0.25,
        "The fraction of the pixels that is kept; 1 keeps all.",
        above(0, 1),
        used_by=("ohem_cross_entropy",),
    ),
    "ohem_threshold": Key(
        0.0,
        "Pixels whose true class has a lower probability are kept too; 0 for none.",
        below(1),
        used_by=("ohem_cross_entropy",),
    ),
    "focal_gamma": Key(2.0, "The exponent gamma.", within(0, 100), used_by=("focal",)),
    "tversky_alpha": Key(
        0.3, "The weight of false positives.", at_least(0), used_by=("tversky", "focal_tversky")
    ),
    "tversky_beta": Key(
        0.7, "The weight of false negatives.", above(0), used_by=("tversky", "focal_tversky")
    ),
    "tversky_gamma": Key(
        4 / 3, "The power is one over this.", within(0.1, 10), used_by=("focal_tversky",)
    ),
    "unified_focal_delta": Key(
        0.6,
        "The weight of the classes except 0, and of false negatives.",
        within(0.01, 0.99),
        used_by=("unified_focal",),
    ),
    "unified_focal_gamma": Key(
        0.5,
        "Suppression of easy pixels of class 0, and enhancement of hard other classes.",
        below(1),
        used_by=("unified_focal",),
    ),
    "cldice_iterations": Key(
        10,
        "Half the greatest width of a structure, in pixels.",
        within(1, 100),
        used_by=("cldice",),
    ),
}
