"""`hf://OWNER/REPO[@REVISION][/FILE]`: weights and models of the Hugging Face hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from fcnjax.errors import UserError
from fcnjax.models.pretrained.model_folder import is_saved_config
from fcnjax.models.pretrained.sources.folder import (
    CONFIG_FILE,
    MAX_JSON,
    MODEL_FILE,
    TOLD_IN,
    choose_file,
    find_normalisation,
    read_json_or_none,
)
from fcnjax.models.pretrained.sources.weights import Weights

FORM = "hf://OWNER/REPO[@REVISION][/FILE]"
TIMEOUT = 20  # seconds for the hub to answer
MAX_BYTES = 2**33  # of a file; the largest model here has 2.5 GB
_SOURCE = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<file>[^@]+))?"
)
# Of a published model of fcnjax.
_MODEL_FILES = (CONFIG_FILE, MODEL_FILE, "metrics.json", "README.md")
# What is looked for in the cache where the hub cannot be asked.
_USUAL_FILES = (MODEL_FILE, "pytorch_model.bin", *TOLD_IN)

T = TypeVar("T")


def fetch_hub(source: str) -> Weights:
    """Fetches weights from the hub, into the cache of huggingface_hub and by its settings.

    Without a file it is the one that `choose_file` finds. Of a published model of fcnjax the whole
    is fetched.

    Raises:
        UserError: A source of another form, a repository or file that is not there or is private,
            or no network; says what to do.
    """
    repository = _Repository(source)
    names = repository.names()
    file = repository.file or choose_file(names, source)
    if file not in names:
        raise UserError(f"{source}: has no such file; it has: {', '.join(sorted(names)[:10])}")
    if file == MODEL_FILE and is_saved_config(repository.json(CONFIG_FILE, names)):
        return Weights(source, repository.model(names), is_model=True)
    mean, std = find_normalisation(lambda name: repository.json(name, names))
    return Weights(source, repository.download(file), mean=mean, std=std)


def fetch_hub_model(source: str) -> Path:
    """Fetches a published model of fcnjax from the hub; returns its folder.

    Raises:
        UserError: As `fetch_hub`, and where the repository holds something else.
    """
    repository = _Repository(source)
    names = repository.names()
    if MODEL_FILE not in names or not is_saved_config(repository.json(CONFIG_FILE, names)):
        raise UserError(
            f"{source}: is not a model that `fcnjax publish` made; weights of others start a "
            f"training: --config.model.init_from={source}"
        )
    return repository.model(names)


class _Repository:
    """A repository of the hub, as a source names it.

    Attributes:
        file: The file that the source names, or None.
    """

    def __init__(self, source: str):
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise UserError(f"{source}: is not {FORM}, such as hf://timm/resnet50.a1_in1k")
        # Imported here: it takes half a second, and most runs take nothing from the hub.
        try:
            import huggingface_hub
            import huggingface_hub.errors
        except ImportError as error:
            raise UserError(
                f"{source}: needs the package huggingface_hub (pip install huggingface_hub)"
            ) from error
        self.file = match["file"]
        self._source = source
        self._sizes: dict[str, int] = {}
        self._name = match["repo"]
        self._revision = match["revision"] and unquote(match["revision"])
        self._hub = huggingface_hub
        self._api = huggingface_hub.HfApi(library_name="fcnjax")

    def names(self) -> list[str]:
        """Its files; where the hub cannot be asked, the usual ones that were fetched before."""
        try:
            # Unlike list_repo_files it does not try for half a minute where there is no network.
            told = self._ask(self._api.model_info, timeout=TIMEOUT, files_metadata=True)
            self._sizes = {file.rfilename: file.size or 0 for file in told.siblings}
            return list(self._sizes)
        except UserError as error:
            if isinstance(error.__cause__, self._answers()):
                raise
            wanted = (*_USUAL_FILES, *([self.file] if self.file else []))
            here = [name for name in wanted if self._is_cached(name)]
            if not here:
                raise
            return here

    def json(self, name: str, names: list[str]) -> Any:
        """The content of a JSON file; None where it is not among `names`, or no such file."""
        small = name in names and self._sizes.get(name, 0) <= MAX_JSON
        return read_json_or_none(self.download(name)) if small else None

    def model(self, names: list[str]) -> Path:
        """Downloads a published model; returns its folder."""
        files = [self.download(name) for name in _MODEL_FILES if name in names]
        return files[0].parent

    def download(self, name: str) -> Path:
        """Downloads a file, unless it is in the cache.

        Raises:
            UserError: It is too large, or cannot be fetched.
        """
        if (size := self._sizes.get(name, 0)) > MAX_BYTES:
            raise UserError(
                f"{self._source}: {name} has {size} bytes; at most {MAX_BYTES} are fetched"
            )
        return Path(self._ask(self._api.hf_hub_download, filename=name))

    def _ask(self, ask: Callable[..., T], **what: Any) -> T:
        """Asks the hub, and puts its refusal into one line."""
        try:
            return ask(self._name, revision=self._revision, **what)
        # Its exceptions of the network are those of requests, httpx or others, by its version.
        except Exception as error:
            file = what.get("filename", self.file) or MODEL_FILE
            raise UserError(f"{self._source}: {self._advice(file, error)}") from error

    def _is_cached(self, name: str) -> bool:
        find = self._hub.try_to_load_from_cache
        return isinstance(find(self._name, name, revision=self._revision), str)

    def _answers(self) -> tuple[type[Exception], ...]:
        """The errors by which the hub says no; others are of the way to it."""
        errors = self._hub.errors
        return (
            errors.RepositoryNotFoundError,
            errors.RevisionNotFoundError,
            errors.HFValidationError,
        )

    def _advice(self, file: str, error: Exception) -> str:
        errors = self._hub.errors
        page = f"{self._api.endpoint}/{self._name}"
        by_hand = (
            f"download {page}/resolve/{quote(self._revision or 'main', safe='')}/{file} by hand "
            "and give its path as config.model.init_from"
        )
        if isinstance(error, errors.HFValidationError):
            return f"is not {FORM}: {_reason(error)}"
        if isinstance(error, errors.GatedRepoError):
            return (
                f"asks for consent: give it at {page} and log in with `hf auth login`; or {by_hand}"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"there is no model {self._name} on the hub, or it is private: check the name, or "
                f"log in with `hf auth login`; or {by_hand}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"the model has no revision {self._revision!r}"
        return f"cannot be fetched ({_reason(error)}); {by_hand}"


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, Exception):
        error = error.__cause__  # what happened, under what huggingface_hub makes of it
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
