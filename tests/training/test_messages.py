"""Lines that a training prints at its start and at its end."""

import shlex

import pytest

from fcnjax.config import default_config
from fcnjax.training.checkpoint_manifest import Manifest
from fcnjax.training.messages import describe_end, describe_schedule_change


def config_with(steps, **optim):
    config = default_config()
    config.train.steps = steps
    config.optim.update(lr=1e-3, warmup_steps=100, **optim)
    return config


@pytest.mark.parametrize(
    ("schedule", "step", "rates"),
    [
        # By hand: half a cosine after 900 of 1900 steps, and after all of 900; ...
        ("cosine", 1000, "lr 0.0005413 after step 1000, it was 0"),
        ("cosine", 550, "lr 0.0008679 after step 550, it was 0.0005"),
        ("poly", 1000, "lr 0.0005612 after step 1000, it was 0"),
    ],
)
def test_more_steps_change_the_learning_rate(schedule, step, rates):
    config = config_with(2000, schedule=schedule)
    (line,) = describe_schedule_change(config, config_with(1000, schedule=schedule), step)
    assert line == (
        f"note: config.train.steps is 2000 now (1000 before): the {schedule} schedule gives {rates}"
    )


@pytest.mark.parametrize(("schedule", "step"), [("constant", 1000), ("step", 1000), ("cosine", 50)])
def test_rate_that_stays_the_same_is_not_mentioned(schedule, step):
    options = {"schedule": schedule, "milestones": (600, 900) if schedule == "step" else ()}
    more, before = (config_with(steps, **options) for steps in (2000, 1000))
    assert describe_schedule_change(more, before, step) == []
    assert describe_schedule_change(before, before, step) == []


def test_end_names_the_best_step_the_report_and_the_next_commands():
    best = Manifest(40, {"mean_dice": 0.81234}, {})
    assert describe_end(best, "mean_dice", "runs/mine", 40) == [
        "best step 40 (mean_dice 0.8123); report: runs/mine/report.html",
        "next: fcnjax predict IMAGE --model=runs/mine --out=masks",
    ]
    assert describe_end(best, "mean_dice", "runs/mine", 60) == [
        "best step 40 (mean_dice 0.8123); report of step 60: runs/mine/report.html",
        "next: fcnjax predict IMAGE --model=runs/mine --out=masks  # uses step 40",
        "next: fcnjax evaluate --model=runs/mine  # scores step 40 and writes its report",
    ]


@pytest.mark.parametrize("best", [None, Manifest(60, {"mean_iou": None}, {})])
def test_end_without_a_score_names_no_best_step(best):
    lines = describe_end(best, "mean_iou", "my runs/it's", 60)
    assert lines[0] == "report: my runs/it's/report.html"
    assert "--model=my runs/it's" in shlex.split(lines[1])
