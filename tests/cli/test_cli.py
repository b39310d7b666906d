"""The command line: help, errors, imports and the cache of compiled programs."""

import importlib
import os
import subprocess
import sys

import pytest

import fcnjax
from fcnjax import cli

HEAVY = {"flax", "grain", "jax", "optax", "orbax", "rich", "scipy", "tensorflow", "torch"}
# What the help of the commands that are used most does not wait for either.
SLOW = {"PIL", "absl", "cv2", "ml_collections", "numpy", "yaml"}


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_each_command_has_a_short_help(command, capsys):
    # Twice, since main can be called again in one process.
    for _ in range(2):
        assert cli.main([command, "--help"]) == 0
        out = capsys.readouterr().out
        assert f"usage: fcnjax {command}" in out
        assert "examples:" in out or f"`fcnjax {command} COMMAND --help`" in out
        # At most two screens for the longest commands, one for the others.
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
        (["evaluate", "--model=nowhere"], ["nowhere: is not a workdir"]),
        (["predict", "--model=nowhere", "--out=o", "none.png"], ["none.png"]),
        (["data", "fetch", "star"], ["'star'", "stare"]),
        (
            ["train", "--config=folder", "--workdir=w", "--config.optim.lrr=1"],
            ["'lrr'", "did you mean 'lr'"],
        ),
    ],
)
def test_user_error_is_one_line_with_exit_code_2(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    err = capsys.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


def test_import_is_fast_and_loads_no_heavy_package():
    code = (
        "import sys, time; start = time.perf_counter(); import fcnjax;"
        "seconds = time.perf_counter() - start;"
        "heavy = {'tensorflow', 'torch', 'jax'} & set(sys.modules);"
        "assert not heavy, heavy; assert seconds < 1, seconds;"
        "import fcnjax.training.loop, fcnjax.inference;"
        "heavy = {'tensorflow', 'torch'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_and_tables_load_no_heavy_package():
    words = [["--help"], ["--version"], ["models", "list"]]
    words += [[name, "--help"] for name in ("train", "predict", "serve", "publish", "report")]
    quick = len(words)
    words.append(["config", "optim.lr"])
    for name, (module, _) in cli.COMMANDS.items():
        words.append([name, "--help"])
        subcommands = getattr(importlib.import_module(module), "COMMANDS", ())
        words += [[name, subcommand, "--help"] for subcommand in subcommands]
    code = (
        "import sys; from fcnjax import cli\n"
        f"for index, words in enumerate({words}):\n"
        "    assert cli.main(words) == 0, words\n"
        f"    refused = {HEAVY} | ({SLOW} if index < {quick} else set())\n"
        "    assert not refused & set(sys.modules), (words, refused & set(sys.modules))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_module_is_the_command():
    argv = [sys.executable, "-m", "fcnjax", "--version"]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout == f"fcnjax {fcnjax.__version__}\n"


def test_second_start_compiles_nothing(tmp_path, shapes, tiny_options):
    cache = tmp_path / "cache"
    environment = {**os.environ, "FCNJAX_CACHE": str(cache)}
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    environment["JAX_NUM_CPU_DEVICES"] = "2"
    del environment["JAX_COMPILATION_CACHE_DIR"]
    short = ["--config.train.steps=2", "--config.optim.warmup_steps=0"]
    cached = []
    for name in ("first", "second"):
        argv = ["train", f"--config=folder:root={shapes}", f"--workdir={tmp_path / name}"]
        subprocess.run(
            [sys.executable, "-m", "fcnjax", *argv, *tiny_options, *short],
            env=environment,
            check=True,
            capture_output=True,
        )
        cached.append({path.name for path in (cache / "compiled").glob("*-cache")})
    # The initialization has two programs. The checkpoint of two devices needs none.
    names = {name.rpartition("-")[0].rpartition("-")[0] for name in cached[0]}
    assert names == {"jit__lambda", "jit_schedule", "jit_train_step", "jit_eval_step"}
    assert cached[1] == cached[0]


def test_first_mask_compiles_one_program_and_imports_nothing_in_vain(copy_of_run, shapes, tmp_path):
    run, published = copy_of_run(), tmp_path / "published"
    assert cli.main(["publish", f"--model={run}", f"--out={published}"]) == 0
    image = next((shapes / "images").iterdir())
    vain = {"grain", "pandas", "rich.progress", "tensorboardX", "tensorflow", "torch"}
    vain |= {"fcnjax.published.transformers", "fcnjax.training.loop"}
    for model, refused in ((run, vain), (published, vain | {"orbax"})):
        argv = ["predict", str(image), f"--model={model}", f"--out={tmp_path / 'out'}"]
        code = (
            f"import sys; from fcnjax import cli; assert cli.main({argv}) == 0\n"
            f"assert not {refused} & set(sys.modules), {refused} & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "JAX_LOG_COMPILES": "1"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-1000:]
        lines = done.stderr.splitlines()
        compiled = [line for line in lines if "Finished XLA compilation of" in line]
        assert len(compiled) == 1, compiled
