"""The rows of gpu.py: their commands and targets, and the table of their reports."""

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import mean, median
from typing import Any, NamedTuple

SMALL = ("unet_tiny",)
MODELS = ("fcn_resnet50", "deeplabv3_resnet50", "unet")
HEADER = (
    "| part | row | fcnjax | compared with | value | target | met |\n|--:|---|---|---|--:|---|---|"
)


class Target(NamedTuple):
    """A bound of a value.

    Attributes:
        bound: The bound.
        aim: A stricter one, which is only shown.
        at_most: Whether the value may not be greater, instead of not smaller.
    """

    bound: float
    aim: float | None = None
    at_most: bool = False

    def is_met(self, value: float) -> bool:
        """Return whether a value meets the bound."""
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        aim = f" (aim {self.aim:g})" if self.aim else ""
        return f"at {'most' if self.at_most else 'least'} {self.bound:g}{aim}"


TRAINING = {
    "fcn_resnet50": Target(1.20, 1.35),
    "deeplabv3_resnet50": Target(1.20, 1.35),
    "unet": Target(1.12, 1.15),
}
MASKS, ONE_MASK = Target(1.35, 1.5), Target(1.0)
COLD, WARM = Target(120, at_most=True), Target(60, at_most=True)
DICE = Target(0.840, 0.850)  # mean of the seeds at the last step


class Line(NamedTuple):
    """A line of the table: what was measured, what it is compared with, and the target."""

    name: str
    ours: str
    other: str = ""
    value: float | None = None
    target: Target | None = None


@dataclass(frozen=True)
class Row:
    """A benchmark that is run in one process.

    Attributes:
        part: The part of gpu.sh.
        name: The name in the results and the table.
        command: The script with its options.
        lines: Returns the lines of the table, from the row and the reports by name of row.
        target: The target of the first line.
        out_option: The option for the file of the report.
        programs: The folder of compiled programs.
        is_cold: Whether the folder is emptied first.
        needs_programs: Whether the row is run once before, if the folder is missing.
    """

    part: int
    name: str
    command: tuple[str, ...]
    lines: Callable[["Row", Mapping[str, dict]], list[Line]]
    target: Target | None = None
    out_option: str = "--out"
    programs: str = "compiled"
    is_cold: bool = False
    needs_programs: bool = False


def make_rows(device: str, small: bool) -> list[Row]:
    """Return the rows in the order in which they are measured: the important ones first.

    Args:
        device: `cuda` or `cpu`.
        small: Whether to take small models, few images and few steps.
    """
    options = (f"--device={device}", *(("--size=64x64", "--chunks=1") if small else ()))
    models, batch = SMALL if small else MODELS, 2 if small else 16
    tests = ("-m", "pytest", "-m", "gpu and not slow" if small else "gpu", "tests/gpu")
    if device == "cuda" and importlib.util.find_spec("xdist"):
        tests += ("-n", "4", "--dist", "worksteal")  # their compilations are most of the time
    images = ("--images=4", "--seconds=0.3") if small else ("--seconds=3",)
    return [
        Row(1, "correctness", tests, correctness_lines, Target(0, at_most=True), "--junitxml"),
        *_training_rows(models, (*options, f"--batch={batch}")),
        *_mask_rows(models, options, batch),
        Row(4, "input", ("benchmarks/input_pipeline.py", *images), input_lines),
        *_quality_rows(small),
    ]


def _training_rows(models: tuple[str, ...], options: tuple[str, ...]) -> Iterator[Row]:
    for remat in (False, True):
        for model in models:
            name = f"training step, {model}"
            command = ("benchmarks/train_step.py", f"--models={model}", *options)
            if remat:
                command = (*command, "--remat", "--torch=none")
                yield Row(2, f"{name}, remat", command, remat_lines)
            else:
                command = (*command, "--torch=compile")
                yield Row(2, name, command, speed_lines, TRAINING.get(model))


def _mask_rows(models: tuple[str, ...], options: tuple[str, ...], batch: int) -> Iterator[Row]:
    kinds = (
        (batch, "", ("--torch=frozen",), MASKS),
        (1, "", ("--torch=graphs",), ONE_MASK),
        (1, ", command buffers", ("--torch=none", "--command-buffers"), ONE_MASK),
    )
    for size, suffix, more, target in kinds:
        for model in models:
            command = ("benchmarks/inference.py", f"--models={model}", f"--batch={size}")
            name = f"masks, {model}, batch {size}{suffix}"
            yield Row(3, name, (*command, *options, *more), speed_lines, target)


def _quality_rows(small: bool) -> Iterator[Row]:
    command = ("benchmarks/time_to_quality.py", "--end")
    if small:
        command += ("--config=biomedical_stare:cpu", "--target=0", "--every=5")
        command += tuple(
            f"--config.{key}"
            for key in (
                *("train.steps=10", "optim.warmup_steps=2", "train.batch_size=2"),
                "augment.crop=32,32",
            )
        )
    for seed in range(3):
        name = f"STARE, {'warm' if seed else 'cold'}, seed {seed}"
        options = {"is_cold": seed == 0, "needs_programs": seed > 0}
        yield Row(
            5,
            name,
            (*command, f"--config.train.seed={seed}"),
            quality_lines,
            WARM if seed else COLD,
            programs="stare_programs",
            **options,
        )


def correctness_lines(row: Row, reports: Mapping[str, dict]) -> list[Line]:
    """Return the line of the tests; the value is the number that failed."""
    report = reports[row.name]
    ours = f"{report['passed']} tests passed, {report['skipped']} skipped"
    return [Line("correctness: tests that failed", ours, "", len(report["failed"]), row.target)]


def speed_lines(row: Row, reports: Mapping[str, dict]) -> list[Line]:
    """Return the line of the speed relative to torch; of its own process, if torch ran there."""
    ours, *peers = timed(reports[row.name])
    if not peers:
        plain = reports.get(row.name.removesuffix(", command buffers"))
        peers = timed(plain)[1:] if plain else []
    if not peers:
        return [Line(row.name, cell(ours))]
    best = min(peers, key=lambda peer: peer["ms"])
    other = f"{cell(best)}, {best['name']}"
    return [Line(row.name, cell(ours), other, best["ms"] / ours["ms"], row.target)]


def remat_lines(row: Row, reports: Mapping[str, dict]) -> list[Line]:
    """Return the line of a step with remat; the value is its memory relative to that without."""
    ours, plain = timed(reports[row.name])[0], reports.get(row.name.removesuffix(", remat"))
    if plain is None:
        return [Line(row.name, cell(ours))]
    other = timed(plain)[0]
    known = ours["peak_gib"] and other["peak_gib"]
    share = ours["peak_gib"] / other["peak_gib"] if known else None
    return [Line(f"{row.name}: peak memory", cell(ours), f"{cell(other)}, without", share)]


def timed(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the only model of a report of timing.py, fcnjax first."""
    (rows,) = report["results"].values()
    return rows


def cell(row: Mapping[str, Any]) -> str:
    """Return the time and the peak memory of a row of timing.py."""
    memory = "" if row["peak_gib"] is None else f", {row['peak_gib']:.2f} GiB"
    return f"{row['ms']:.2f} ms{memory}"


def input_lines(row: Row, reports: Mapping[str, dict]) -> list[Line]:
    """Return a line for each kind of file, and for each augmentation."""
    results = reports[row.name]["results"]
    lines = []
    for each in results["rates"]:
        ours, *other = (median(rate for rate, _ in chunks) for chunks in each["chunks"].values())
        peer = f"{other[0]:.1f}, DataLoader" if other else ""
        value = ours / other[0] if other else None
        lines.append(Line(f"images/s, {each['name']}", f"{ours:.1f}", peer, value))
    for name, each in results["augmentation"].items():
        lines.append(Line(f"augmentation, {name}", f"{each['ms']:.2f} ms"))
    return lines


def quality_lines(row: Row, reports: Mapping[str, dict]) -> list[Line]:
    """Return the line of the seconds to the target, and after the last seed that of the mean."""
    report = reports[row.name]
    seconds, dice = report["results"]["seconds"], report["settings"]["target"]
    ours = "not reached" if seconds is None else f"{seconds:.1f} s"
    value = math.inf if seconds is None else seconds
    lines = [Line(f"{row.name}: seconds to Dice {dice:g}", ours, "", value, row.target)]
    runs = [report for name, report in reports.items() if name.startswith("STARE, ")]
    if row.name.endswith("seed 2") and len(runs) == 3:
        last = [run["results"]["scores"][-1][2] for run in runs]
        ours = ", ".join(f"{score:.4f}" for score in last)
        lines.append(Line("STARE: mean Dice at the last step", ours, "", mean(last), DICE))
    return lines


def table(rows: list[Row], results: Mapping[str, Any]) -> str:
    """Return the machine, the dates and a line for each row in Markdown.

    Args:
        rows: The rows of `make_rows`.
        results: The content of results.json: `machine`, and `rows` by name.
    """
    entries = results["rows"]
    reports = {name: entry["report"] for name, entry in entries.items() if "report" in entry}
    days = sorted({entry["measured"][:10] for entry in entries.values()})
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    text = [f"{machine}; {' to '.join(dict.fromkeys(days[:1] + days[-1:])) or 'not run'}\n", HEADER]
    for row in rows:
        entry = entries.get(row.name, {"status": "not run"})
        if row.name in reports:
            text += [_format(row.part, line) for line in row.lines(row, reports)]
        if entry["status"] != "done":
            cause = f"{entry['status']}: {entry.get('error', '')}".removesuffix(": ")
            text.append(f"| {row.part} | {row.name} | {cause.replace('|', '/')} | | | | |")
    return "\n".join(text) + "\n"


def _format(part: int, line: Line) -> str:
    met = "-"
    if line.target is not None and line.value is not None:
        met = "yes" if line.target.is_met(line.value) else "**no**"
    value = "-" if line.value is None else f"{line.value:.4g}"
    target = "-" if line.target is None else str(line.target)
    return f"| {part} | {line.name} | {line.ours} | {line.other} | {value} | {target} | {met} |"
