import json
import re

import pytest

from fcnjax import cli, data
from fcnjax.config import PLANNED, flatten, load_config
from fcnjax.errors import UserError
from fcnjax.optim import make_optimizer
from fcnjax.planner import apply_plan, budget, config_text, time_rules, weights_rule
from fcnjax.planner.timing import StepTime, time_step


def seconds(widths):
    """The time of a step that the tests assume."""
    return 0.02 * widths[0] ** 1.2 / 8


@pytest.fixture
def timed(monkeypatch):
    """The configs whose step was timed."""
    configs = []

    def time_step(config):
        configs.append(config)
        return StepTime(2.0, seconds(config.model.widths or (16,)))

    monkeypatch.setattr(budget, "time_step", time_step)
    return configs


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No pretrained weights can be fetched."""

    def fetch_weights(source):
        raise UserError(f"{source}: no network")

    monkeypatch.setattr(weights_rule, "fetch_weights", fetch_weights)


def plan(root, *words):
    config, _ = data.resolve(load_config(f"folder:root={root}", [f"--config.{w}" for w in words]))
    return apply_plan(config)


def test_every_key_of_the_folder_is_chosen_with_a_reason(shapes, timed):
    config, choices = plan(shapes)
    planned = {key for choice in choices for key in choice.values}
    weights = {"model.init_from", "model.decoder_widths"}
    assert planned == set(PLANNED) - weights - {"data.channels"}
    assert all(choice.reason for choice in choices)
    for choice in choices:
        for key, value in choice.values.items():
            assert config[key] == value


def test_given_keys_stay_and_auto_gives_one_back(shapes, timed):
    words = ("optim.lr=0.5", "augment.crop=64,32", "augment.hflip=0", "augment.hflip=auto")
    config, choices = plan(shapes, *words)
    assert (config.optim.lr, tuple(config.augment.crop)) == (0.5, (64, 32))
    planned = {key for choice in choices for key in choice.values}
    assert not planned & {"optim.lr", "optim.name", "augment.crop"}
    assert "augment.hflip" in planned


def test_a_given_part_of_the_model_leaves_it_alone(shapes, timed):
    config, _ = plan(shapes, "model.widths=8,16")
    assert (config.model.widths, config.model.encoder) == ((8, 16), "vanilla")
    assert [each.model.widths for each in timed] == [(8, 16)]


def test_value_that_python_code_sets_stays(shapes, timed):
    config = load_config(f"folder:root={shapes}")
    config.train.steps = 70
    config, _ = apply_plan(data.resolve(config)[0])
    assert config.train.steps == 70
    assert "train.steps" not in dict(config.plan.auto)


def test_more_time_trains_a_larger_model_and_the_steps_fit_the_time(shapes, timed):
    widths = []
    for minutes in (1, 10, 100):
        config, _ = plan(shapes, f"plan.minutes={minutes}")
        assert 0.6 * 60 * minutes < config.train.steps * seconds(config.model.widths) < 60 * minutes
        widths.append(config.model.widths[0])
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]


def test_in_a_short_time_only_the_smallest_model_is_timed(shapes, timed):
    config, _ = plan(shapes, "plan.minutes=1")
    assert len(timed) == 1
    assert tuple(config.model.widths) == time_rules.LADDER[0]


@pytest.mark.parametrize(("evaluation", "count"), [(0.1, 8), (20.0, 5), (1000.0, 1)])
def test_evaluations_of_large_images_leave_time_for_training(
    shapes, timed, monkeypatch, evaluation, count
):
    monkeypatch.setattr(time_rules, "_evaluation_seconds", lambda *args: evaluation)
    config, _ = plan(shapes, "plan.minutes=10")
    assert config.train.steps // config.eval.every == count
    assert config.train.save_every == config.eval.every


def test_too_little_memory_is_a_one_line_error(shapes, monkeypatch):
    monkeypatch.setattr(budget, "time_step", lambda config: StepTime(2.0, float("inf")))
    with pytest.raises(UserError, match=r"config\.train\.batch_size: a step with 8 crops of 32x32"):
        plan(shapes)


def test_given_steps_decide_the_model(shapes, timed):
    few, _ = plan(shapes, "train.steps=10")
    many, _ = plan(shapes, "train.steps=100000")
    assert few.model.widths[0] > many.model.widths[0]
    assert few.optim.warmup_steps < few.train.steps


def test_pretrained_weights_are_chosen_for_thick_regions(shapes, timed, monkeypatch):
    monkeypatch.setattr(weights_rule, "fetch_weights", lambda source: None)
    config, choices = plan(shapes, "plan.minutes=15")
    assert config.model.init_from == "package://mobilenet_v2"
    assert not any("data.mean" in choice.values for choice in choices)  # the weights bring theirs
    for words in (["plan.minutes=10"], ["plan.minutes=15", "model.decoder=unet"]):
        assert plan(shapes, *words)[0].model.init_from is None
    monkeypatch.setattr(weights_rule, "MIN_THICKNESS", 1000.0)
    assert plan(shapes, "plan.minutes=15")[0].model.encoder == "vanilla"


def test_without_a_network_training_begins_at_random(shapes, timed, capsys):
    config, _ = plan(shapes, "plan.minutes=15")
    assert config.model.encoder == "vanilla"
    assert "note: training begins with random weights" in capsys.readouterr().err


def test_no_minutes_plan_nothing(shapes, timed):
    config, choices = plan(shapes, "plan.minutes=0")
    assert (choices, config.train.steps, timed) == ([], 1000, [])


def test_several_processes_are_refused(shapes, timed, monkeypatch):
    monkeypatch.setattr("jax.process_count", lambda: 2)
    with pytest.raises(UserError, match="this job has 2; write a config with `fcnjax data plan"):
        plan(shapes)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("plan.minutes=-1", "config.plan.minutes"),
        ("plan.auto=(('optim.b1','0.9'),)", "('optim.b1', '0.9')"),
        ("optim.schedule=auto", "config.optim.schedule"),
    ],
)
def test_wrong_values_are_refused(shapes, word, text):
    with pytest.raises(UserError, match=re.escape(text)):
        make_optimizer(plan(shapes, word)[0])


def test_run_stores_what_was_planned_and_resumes(shapes, tiny_options, tmp_path, capsys):
    command = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / 'run'}"]
    command += [word for word in tiny_options if "optim.lr" not in word]
    command += ["--config.plan.minutes=5", "--config.optim.warmup_steps=0"]
    assert cli.main([*command, "--config.train.steps=2"]) == 0
    assert "planned optim.lr=0.02: for muon and 8 channels" in capsys.readouterr().out
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (stored["optim"]["name"], stored["optim"]["lr"]) == ("muon", 2e-2)
    assert cli.main([*command, "--config.train.steps=3"]) == 0
    assert cli.main([*command, "--config.train.steps=3", "--config.optim.lr=0.25"]) == 2
    assert "config.optim.lr" in capsys.readouterr().err


def test_written_config_is_the_planned_one(shapes, timed, tmp_path, capsys):
    out = tmp_path / "mine.py"
    assert cli.main(["data", "plan", str(shapes), "--minutes=3", f"--out={out}"]) == 0
    assert "planned augment.crop=" in capsys.readouterr().out
    written = flatten(load_config(str(out)))
    planned, _ = plan(shapes, "plan.minutes=3")
    expected = flatten(planned)
    timing = ("train.", "eval.every", "optim.warmup_steps", "optim.ema_decay")
    same = [key for key in PLANNED if not key.startswith(timing)]
    assert {key: written[key] for key in same} == {key: expected[key] for key in same}
    assert written["data.root"] == str(shapes)
    assert written["plan.auto"] == ()
    for option, name in ((f"--out={out}", "--out"), ("--minutes=0", "--minutes")):
        assert cli.main(["data", "plan", str(shapes), option]) == 2
        assert name in capsys.readouterr().err


def test_learning_rate_suits_the_optimizer(shapes, timed):
    widths = "model.widths=8,16"
    for name, rate in (("muon", 2e-2), ("adamw", 5e-3)):
        assert plan(shapes, widths, f"optim.name={name}")[0].optim.lr == rate
    _, choices = plan(shapes, "optim.name=sgd")
    assert not any("optim.lr" in choice.values for choice in choices)


def test_few_steps_do_not_conflict_with_the_warm_up(shapes, monkeypatch):
    monkeypatch.setattr(time_rules, "LADDER", ((4, 8),))
    monkeypatch.setattr(time_rules, "CPU", time_rules.Limits(32, 8, 0))
    config, _ = plan(shapes, "train.steps=10")
    assert (config.optim.warmup_steps, config.model.widths) == (0, (4, 8))


def test_data_show_plans_augmentation_without_timing_a_model(shapes, timed, tmp_path, capsys):
    argv = ["data", "show", str(shapes), f"--out={tmp_path}/sheet.png"]
    assert cli.main([*argv, "--config.augment.hflip=0"]) == 0
    out = capsys.readouterr().out
    assert "planned augment.scale=" in out
    assert "hflip" not in out
    assert "optim" not in out
    assert not timed


def test_batch_that_cannot_be_divided_is_a_one_line_error(shapes):
    with pytest.raises(UserError, match=r"config\.train\.accumulate"):
        plan(shapes, "model.widths=4,8", "train.accumulate=3")


def test_names_with_quotes_are_harmless_in_a_config_file(tmp_path):
    config = load_config("folder", ["--config.plan.minutes=1"])
    config.data.root = odd = 'a"""\\é\n\udcff'
    file = tmp_path / "odd.py"
    file.write_text(config_text(config, [], odd, odd), encoding="ascii")
    assert load_config(str(file)).data.root == odd


def test_a_step_is_timed(shapes, tiny_options):
    config, _ = data.resolve(load_config(f"folder:root={shapes}", tiny_options))
    timed = time_step(config)
    assert 0 < timed.step < timed.compilation
