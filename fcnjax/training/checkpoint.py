"""Checkpoints: written by Orbax and verified by a SHA-256 manifest.

This is the only file that imports orbax. A checkpoint is `workdir/checkpoints/STEP/` with the items
`model` (all that inference needs), `training` (the rest of the state) and `progress` (JSON).

Orbax does not notice a changed byte in an array file. So `manifest.json`, with the hash of every
file, is written into a checkpoint after Orbax has committed it. A checkpoint without a manifest, or
that differs from it, is damaged: the newest intact one is used in its place, and the damaged one
is moved aside, never deleted. Nothing is parsed before its hash was compared.
"""

import contextlib
import functools
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from fcnjax.errors import UserError
from fcnjax.io.regular_files import write_error_reason, writing
from fcnjax.io.terminal import LogFn
from fcnjax.metrics import lower_is_better
from fcnjax.parallel.processes import broadcast_from_primary
from fcnjax.runtime.save_warnings import suppress_save_warnings
from fcnjax.training.checkpoint_manifest import (
    FOLDER,
    Manifest,
    find_damage,
    parse_step_folder,
    read_manifest,
    write_manifest,
)
from fcnjax.training.state import TrainState

DAMAGED_FOLDER = "damaged_checkpoints"


class Checkpoints:
    """The checkpoints of a workdir.

    Args:
        workdir: Its checkpoints are in `workdir/checkpoints`.
        keep: Number of newest checkpoints to keep, beside the best one.
        best_metric: The metric that determines the best checkpoint; "" for none.
        read_only: Whether to write, rename and delete nothing.
        log: Takes lines about damaged checkpoints.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        keep: int = 2,
        best_metric: str = "",
        read_only: bool = False,
        log: LogFn = print,
    ):
        self.folder = Path(workdir).absolute() / FOLDER
        self._keep, self._best_metric = max(keep, 1), best_metric
        self._read_only, self._log = read_only, log
        self._commit_result: Future[None] | None = None
        self._failed = False
        if not read_only:
            suppress_save_warnings()
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """The manager that saves; restoring uses a `Checkpointer` of a single step.

        It lists the steps when it is created: at the first save, after damaged checkpoints were
        moved aside.
        """
        if jax.process_count() == 1:
            # By default Orbax divides each array among the devices that hold a copy of it, and
            # compiles a program for each shape to do so. One process writes all of them anyway.
            handler = ocp.type_handlers.ArrayHandler(use_replica_parallel=False)
            ocp.type_handlers.register_type_handler(jax.Array, handler, override=True)
        return ocp.CheckpointManager(
            self.folder,
            # No max_to_keep: old checkpoints are deleted only after the new manifest is written.
            options=ocp.CheckpointManagerOptions(
                create=False,
                save_interval_steps=1,
                cleanup_tmp_directories=True,
                # Otherwise the metadata of every step is parsed before its hash was compared.
                lightweight_initialize=True,
            ),
        )

    def steps(self) -> list[int]:
        """Return the steps that have a folder, damaged or not, in ascending order."""
        folders = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(step for step in map(parse_step_folder, folders) if step is not None)

    def save(self, state: TrainState, progress: dict, metrics: dict | None = None) -> None:
        """Start to save a checkpoint; return after the state was copied from the devices.

        Args:
            state: The state; its step names the checkpoint.
            progress: What resuming needs beside the state, as JSON.
            metrics: The metrics of an evaluation, among them `best_metric`; None without one.

        Raises:
            UserError: This save or the previous one failed.
        """
        self.wait()
        step = int(state.step)
        if not self.folder.is_dir():
            # Orbax would create a workdir that contains only this checkpoint.
            raise UserError(f"{self.folder}: does not exist; was the workdir moved or removed?")
        with self._saving(step):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    model=ocp.args.StandardSave(_model_item(state)),
                    training=ocp.args.StandardSave(_training_item(state)),
                    progress=ocp.args.JsonSave(progress),
                ),
                # Otherwise nothing is saved if some other folder has a greater number.
                force=True,
            )
        committer = ThreadPoolExecutor(1, "commit")
        self._commit_result = committer.submit(self._commit, step, metrics or {})
        committer.shutdown(wait=False)

    def _commit(self, step: int, metrics: dict) -> None:
        with self._saving(step):
            self._manager.wait_until_finished()
            if jax.process_index() == 0:
                write_manifest(self.folder / str(step), step, metrics)
                self._delete_old()

    @contextlib.contextmanager
    def _saving(self, step: int) -> Iterator[None]:
        """Turn any error of the block into a one-line error that names the checkpoint."""
        try:
            yield
        except Exception as error:
            self._failed = True
            if isinstance(error, UserError):
                raise
            # TensorStore's message starts with several long paths.
            lines = filter(None, map(str.strip, str(error).splitlines()))
            reason = write_error_reason(error) or next(lines, repr(error))[:300]
            raise UserError(
                f"{self.folder / str(step)}: the checkpoint cannot be written: {reason}"
            ) from error

    def wait(self) -> None:
        """Wait for the current save.

        Raises:
            UserError: It failed.
        """
        if self._commit_result is not None:
            result, self._commit_result = self._commit_result, None
            result.result()

    def close(self) -> None:
        """Wait for the current save and end Orbax's threads.

        Raises:
            UserError: The save failed.
        """
        try:
            self.wait()
        finally:
            if "_manager" in vars(self):
                # Orbax raises the error of a failed save again at each close.
                with contextlib.suppress(Exception):
                    self._manager.close()
            if self._failed and jax.process_index() == 0:
                # The incomplete checkpoint may be what fills the disk.
                for incomplete in self.folder.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(incomplete, ignore_errors=True)

    def _delete_old(self) -> None:
        steps = [manifest.step for manifest in self._manifests()]
        for step in sorted({*steps[: -self._keep]} - {self.best_step()}):
            # Orbax's own deletion would wait for the other processes, which do not call it.
            shutil.rmtree(self.folder / str(step))

    def _manifests(self) -> list[Manifest]:
        """Return the manifests that are neither missing nor damaged, by ascending step."""
        manifests = []
        for step in self.steps():
            with contextlib.suppress(UserError):
                manifests.append(read_manifest(self.folder / str(step)))
        return manifests

    def best(self) -> Manifest | None:
        """Return the manifest with the best `best_metric`, or the newest if none was evaluated."""
        manifests = self._manifests()
        scored = [m for m in manifests if m.metrics.get(self._best_metric) is not None]
        if scored:
            sign = -1 if lower_is_better(self._best_metric) else 1
            return max(scored, key=lambda m: (sign * m.metrics[self._best_metric], m.step))
        return manifests[-1] if manifests else None

    def best_step(self) -> int | None:
        """Return the step of `best`."""
        best = self.best()
        return None if best is None else best.step

    def newest_intact(self) -> int | None:
        """Return the newest step whose files all match its manifest; log those that do not."""
        for step in reversed(self.steps()):
            damage = find_damage(self.folder / str(step))
            if damage is None:
                return step
            self._log(f"checkpoint {step} is damaged ({damage}); trying the previous one")
        return None

    def restore(self, shapes: TrainState) -> tuple[TrainState, dict] | None:
        """Restore the newest intact checkpoint.

        Args:
            shapes: A state of `jax.ShapeDtypeStruct` with the shardings to restore to.

        Returns:
            The state and the `progress` saved with it; None if there is no intact checkpoint.
        """
        step = broadcast_from_primary(self._select_newest)
        if step < 0:
            return None
        items = self._restore(
            step,
            model=ocp.args.StandardRestore(_model_item(shapes)),
            training=ocp.args.StandardRestore(_training_item(shapes)),
            progress=ocp.args.JsonRestore(),
        )
        if not isinstance(items["progress"], dict):
            raise UserError(f"{self.folder / str(step)}: its progress is not a JSON object")
        return TrainState(**items["training"], **items["model"]), items["progress"]

    def _select_newest(self) -> int:
        """Return the newest intact step, or -1, and move later ones aside."""
        newest = self.newest_intact()
        for step in self.steps():
            # The same step will be saved again.
            if not self._read_only and (newest is None or step > newest):
                self._move_aside(step)
        return -1 if newest is None else newest

    def restore_variables(
        self, shapes: Any, *, average: bool, step: str | int = "best"
    ) -> tuple[dict[str, Any], int]:
        """Restore the variables for inference; only the item `model` is read.

        Args:
            shapes: Variables of `jax.ShapeDtypeStruct` with the shardings to restore to.
            average: Whether the run has an average of the weights, which is then returned.
            step: `best`, `latest` or a step.

        Returns:
            The variables for `model.apply`, and their step.

        Raises:
            UserError: There is no such checkpoint, or no intact one.
        """
        step = self.find(step)
        item = {"variables": shapes, "ema": shapes if average else None}
        model = self._restore(step, model=ocp.args.StandardRestore(item))["model"]
        return model["ema" if average else "variables"], step

    def find(self, step: str | int) -> int:
        """Return the intact step that `best`, `latest` or a step stands for.

        Raises:
            UserError: There is no such checkpoint, or no intact one.
        """
        if step == "best" and (best := self.best_step()) is not None:
            damage = find_damage(self.folder / str(best))
            if damage is None:
                return best
            self._log(f"the best checkpoint, {best}, is damaged ({damage}); using the newest")
        if step in ("best", "latest"):
            if (newest := self.newest_intact()) is not None:
                return newest
            raise UserError(f"{self.folder}: has no intact checkpoint; `fcnjax train` writes them")
        if step not in self.steps():
            valid = ", ".join(["best", "latest", *map(str, self.steps())])
            raise UserError(f"{self.folder}: has no checkpoint {step}; valid: {valid}")
        if damage := find_damage(self.folder / str(step)):
            raise UserError(f"{self.folder / str(step)}: is damaged: {damage}")
        return step

    def _restore(self, step: int, **items: Any) -> Any:
        folder = self.folder / str(step)
        with contextlib.closing(ocp.Checkpointer(ocp.CompositeCheckpointHandler())) as reader:
            try:
                return reader.restore(folder, args=ocp.args.Composite(**items))
            except Exception as error:  # Orbax raises any type for a file it did not write
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise UserError(
                    f"{folder}: does not fit the model that the config describes: {lines[0][:300]}"
                ) from error

    def _move_aside(self, step: int) -> None:
        folder = self.folder.parent / DAMAGED_FOLDER
        with writing(folder):
            folder.mkdir(exist_ok=True)
            count = len(list(folder.glob(f"{step}*")))
            (self.folder / str(step)).rename(folder / (f"{step}.{count}" if count else str(step)))


def _model_item(state: TrainState) -> dict[str, Any]:
    return {"variables": state.variables, "ema": state.ema}


def _training_item(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state}
