"""Checkpoints: Orbax writes them, a SHA-256 manifest says that they are whole.

The only file that imports orbax. A checkpoint is `workdir/checkpoints/STEP/` with the items `model`
(what inference needs), `training` (the rest of the state) and `progress` (JSON). Orbax does not
notice a byte that changed in an array file. So, once a checkpoint is committed, `manifest.json` is
written into it with the hash of every file; one without a manifest, or that differs from it, is
passed over for the newest whole one, and kept aside, never deleted. Nothing of a checkpoint is
parsed before its files were compared with the manifest.
"""

import contextlib
import functools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from fcnjax.errors import UserError
from fcnjax.io.disk_faults import disk_fault
from fcnjax.metrics import lower_is_better
from fcnjax.parallel.processes import broadcast_from_primary
from fcnjax.runtime.quiet_saves import quiet_saves
from fcnjax.training.checkpoint_manifest import (
    Manifest,
    find_fault,
    read_manifest,
    step_of,
    write_manifest,
)
from fcnjax.training.state import TrainState

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of a workdir.

    Args:
        workdir: Its checkpoints are in `workdir/checkpoints`.
        keep: How many of the newest to keep, beside the best.
        best_metric: The metric whose greatest value (of a distance or an error, the least)
            marks the best; "" for none.
        read_only: Writes, renames and deletes nothing.
        log: Takes the lines that tell of a damaged checkpoint.
    """

    def __init__(
        self,
        workdir: str | Path,
        *,
        keep: int = 2,
        best_metric: str = "",
        read_only: bool = False,
        log: Callable[[str], None] = print,
    ):
        self.folder = Path(workdir).absolute() / FOLDER
        self._keep = max(keep, 1)
        self._best_metric = best_metric
        self._read_only = read_only
        self._log = log
        self._committing: threading.Thread | None = None
        self._error: BaseException | None = None
        self._failed = False
        if not read_only:
            quiet_saves()
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"{self.folder}: cannot be written: {error.strerror}") from error

    @functools.cached_property
    def _manager(self) -> ocp.CheckpointManager:
        """The manager that saves; reading takes a `Checkpointer` of one step, which opens no other.

        It lists the steps as it is made: at the first save, after damaged ones were set aside.
        """
        options = ocp.CheckpointManagerOptions(
            create=False,
            # Deleting is ours (no max_to_keep): only after the new checkpoint's manifest stands.
            save_interval_steps=1,
            cleanup_tmp_directories=True,
            # Otherwise it parses the metadata of every step, before their hashes were checked.
            lightweight_initialize=True,
        )
        return ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """The steps that have a folder here, oldest first, damaged or not.

        What is named otherwise, and a file or a link, is passed over.
        """
        if not self.folder.is_dir():
            return []
        found = map(step_of, self.folder.iterdir())
        return sorted(step for step in found if step is not None)

    def save(self, state: TrainState, progress: dict, metrics: dict | None = None) -> None:
        """Starts to save a checkpoint; returns once the state is copied from the devices.

        Args:
            state: The state; its step names the checkpoint.
            progress: What else resuming needs, as JSON.
            metrics: Values that `best_metric` is looked up in, or None if not evaluated.

        Raises:
            UserError: This save, or the one before it, could not be written.
        """
        self.wait()
        step = int(state.step)
        if not self.folder.is_dir():
            # Orbax would make a workdir that has nothing but this checkpoint.
            raise UserError(f"{self.folder}: is gone; was the workdir moved or removed?")
        try:
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    model=ocp.args.StandardSave(_model_item(state)),
                    training=ocp.args.StandardSave(_training_item(state)),
                    progress=ocp.args.JsonSave(progress),
                ),
                # Otherwise nothing is saved where a stranger's folder has a greater number.
                force=True,
            )
        except Exception as error:
            raise self._cannot_write(step, error) from error
        self._committing = threading.Thread(
            target=self._commit, args=(step, metrics), name=f"commit-{step}"
        )
        self._committing.start()

    def _commit(self, step: int, metrics: dict | None) -> None:
        try:
            self._manager.wait_until_finished()
            if jax.process_index() == 0:
                write_manifest(self.folder / str(step), step, metrics or {})
                self._delete_old()
        except BaseException as error:  # raised again by wait(), in the main thread
            self._error = self._cannot_write(step, error)

    def wait(self) -> None:
        """Waits for the save under way.

        Raises:
            UserError: It could not be written.
        """
        if self._committing is not None:
            self._committing.join()
            self._committing = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Waits for the save under way, and lets Orbax's threads end.

        Raises:
            UserError: The save could not be written.
        """
        try:
            self.wait()
        finally:
            # Orbax raises again, at each close, what `wait` has told once.
            with contextlib.suppress(Exception):
                if "_manager" in vars(self):
                    self._manager.close()
            if self._failed and jax.process_index() == 0:
                # The disk may be full because of it.
                for unfinished in self.folder.glob("*.orbax-checkpoint-tmp*"):
                    shutil.rmtree(unfinished, ignore_errors=True)

    def _cannot_write(self, step: int, error: BaseException) -> UserError:
        self._failed = True
        if isinstance(error, UserError):
            return error
        return UserError(
            f"{self.folder / str(step)}: the checkpoint cannot be written: {_reason(error)}"
        )

    def _delete_old(self) -> None:
        manifests = {step: self._manifest(step) for step in self.steps()}
        whole = [step for step, manifest in manifests.items() if manifest]
        keep = set(whole[-self._keep :]) | {self.best_step()}
        for step in whole:
            if step not in keep:
                # Orbax's own way waits for the other processes, which do not come here.
                shutil.rmtree(self.folder / str(step))

    def _manifest(self, step: int) -> Manifest | None:
        """The manifest of a step; None where it is missing or damaged."""
        try:
            return read_manifest(self.folder / str(step))
        except UserError:
            return None

    def best_step(self) -> int | None:
        """The step with the best `best_metric`; the newest where none was evaluated."""
        manifests = [m for m in map(self._manifest, self.steps()) if m]
        scored = [m for m in manifests if m.metrics.get(self._best_metric) is not None]
        if scored:
            sign = -1 if lower_is_better(self._best_metric) else 1
            best = max(scored, key=lambda m: (sign * m.metrics[self._best_metric], m.step))
            return best.step
        return manifests[-1].step if manifests else None

    def newest_whole(self) -> int | None:
        """The newest step whose files all match its manifest; says which it passed over."""
        for step in reversed(self.steps()):
            fault = find_fault(self.folder / str(step))
            if fault is None:
                return step
            self._log(f"checkpoint {step} is damaged ({fault}); trying the one before it")
        return None

    def restore(self, like: TrainState) -> tuple[TrainState, dict] | None:
        """Restores the newest whole checkpoint, or returns None where there is none.

        Args:
            like: A state of `jax.ShapeDtypeStruct` with the shardings to restore to.

        Returns:
            The state, and the `progress` saved with it.
        """
        step = broadcast_from_primary(self._choose)
        if step < 0:
            return None
        items = self._restore(
            step,
            model=ocp.args.StandardRestore(_model_item(like)),
            training=ocp.args.StandardRestore(_training_item(like)),
            progress=ocp.args.JsonRestore(),
        )
        state = TrainState(**items["training"], **items["model"])
        if not isinstance(items["progress"], dict):
            raise UserError(f"{self.folder / str(step)}: its progress is not a JSON object")
        return state, items["progress"]

    def _choose(self) -> int:
        """The newest whole step, or -1; those after it are set aside."""
        step = self.newest_whole()
        for damaged in self.steps():
            # Out of the way of the same step's next save.
            if not self._read_only and (step is None or damaged > step):
                self._set_aside(damaged)
        return -1 if step is None else step

    def restore_inference(
        self, like: TrainState, which: str | int = "best"
    ) -> tuple[dict[str, Any], int]:
        """Restores what inference needs.

        Args:
            like: A state of `jax.ShapeDtypeStruct`; only its model part is read.
            which: `best`, `latest` or a step.

        Returns:
            The variables that `model.apply` takes, and their step.

        Raises:
            UserError: There is no such checkpoint, or no whole one.
        """
        step = self.find(which)
        items = self._restore(step, model=ocp.args.StandardRestore(_model_item(like)))
        model = items["model"]
        return (model["variables"] if model["ema"] is None else model["ema"]), step

    def find(self, which: str | int) -> int:
        """The step that `best`, `latest` or a step names; it is whole.

        Raises:
            UserError: There is no such checkpoint, or no whole one.
        """
        if which not in ("best", "latest"):
            if which not in self.steps():
                raise UserError(f"--step: no checkpoint {which}; valid: {self._names()}")
            if fault := find_fault(self.folder / str(which)):
                raise UserError(f"{self.folder / str(which)}: is damaged: {fault}")
            return which
        if which == "best" and (best := self.best_step()) is not None:
            fault = find_fault(self.folder / str(best))
            if fault is None:
                return best
            self._log(f"the best checkpoint, {best}, is damaged ({fault}); taking the newest")
        step = self.newest_whole()
        if step is None:
            raise UserError(f"{self.folder}: has no whole checkpoint; `fcnjax train` writes them")
        return step

    def _names(self) -> str:
        return ", ".join(["best", "latest", *map(str, self.steps())])

    def _restore(self, step: int, **items: Any) -> Any:
        folder = self.folder / str(step)
        with contextlib.closing(ocp.Checkpointer(ocp.CompositeCheckpointHandler())) as reader:
            try:
                return reader.restore(folder, args=ocp.args.Composite(**items))
            except Exception as error:  # Orbax raises all kinds for files that it did not write
                lines = str(error).strip().splitlines() or [type(error).__name__]
                raise UserError(
                    f"{folder}: does not fit the model that the config describes: {lines[0][:300]}"
                ) from error

    def _set_aside(self, step: int) -> None:
        place = self.folder.parent / "damaged_checkpoints"
        try:
            place.mkdir(exist_ok=True)
            taken = len(list(place.glob(f"{step}*")))
            (self.folder / str(step)).rename(place / (f"{step}.{taken}" if taken else str(step)))
        except OSError as error:
            raise UserError(f"{place}: cannot be written: {error.strerror or error}") from error


def _reason(error: BaseException) -> str:
    """Returns the cause of a failed save in a few words."""
    # TensorStore puts it behind several long paths.
    if reason := disk_fault(error):
        return reason
    text = str(error)
    return next((line for line in text.splitlines() if line.strip()), repr(error)).strip()[:300]


def _model_item(state: TrainState) -> dict[str, Any]:
    return {"variables": state.variables, "ema": state.ema}


def _training_item(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "opt_state": state.opt_state}
