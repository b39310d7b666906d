import os
import subprocess
import sys

import pytest

from fcnjax import cli


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_has_a_short_help(command, capsys):
    # Twice, since main may be called again in one process.
    for _ in range(2):
        assert cli.main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"usage: fcnjax {command}" in out
        assert "example" in out
        # Two screens for those that do most, one for the others.
        assert len(out.splitlines()) < (70 if command in ("predict", "evaluate") else 40)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["trian"],
            [
                "'trian'",
                "'train'",
                "valid: config, data, evaluate, export, folds, models, plan, predict, publish,",
            ],
        ),
        (["train", "--config=nothing.py", "--workdir=w"], ["nothing.py", "biomedical_stare"]),
        (["train", "--config=folder", "--workdir=w", "--steps=3"], ["'--steps=3'"]),
        (["evaluate", "--workdir=nowhere"], ["nowhere is not a workdir"]),
        (["predict", "--workdir=nowhere", "--out=o", "none.png"], ["none.png"]),
        (["data", "fetch", "star"], ["'star'", "stare"]),
        (
            ["train", "--config=folder", "--workdir=w", "--config.optim.lrr=1"],
            ["'lrr'", "did you mean 'lr'"],
        ),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


def test_import_is_quick_and_takes_no_heavy_package():
    code = (
        "import sys, time; start = time.perf_counter(); import fcnjax;"
        "seconds = time.perf_counter() - start;"
        "heavy = {'tensorflow', 'torch', 'jax'} & set(sys.modules);"
        "assert not heavy, heavy; assert seconds < 1, seconds;"
        "import fcnjax.training.loop, fcnjax.inference;"
        "heavy = {'tensorflow', 'torch'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_second_start_compiles_nothing(tmp_path, shapes, tiny_options):
    cache = tmp_path / "cache"
    everything = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    short = ["--config.train.steps=2", "--config.optim.warmup_steps=0"]
    kept = []
    for name in ("first", "second"):
        argv = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / name}"]
        subprocess.run(
            [sys.executable, "-m", "fcnjax.cli", *argv, *tiny_options, *short],
            env={**os.environ, **everything, "FCNJAX_CACHE": str(cache)},
            check=True,
            capture_output=True,
        )
        kept.append({path.name for path in (cache / "compiled").glob("*-cache")})
    assert any("train_step" in name for name in kept[0])
    assert kept[1] == kept[0]
