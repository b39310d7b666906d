"""`hf://OWNER/REPO[@REVISION][/FILE]`: weights and models of the Hugging Face hub."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from fcnjax.errors import UserError
from fcnjax.models.pretrained.model_folder import (
    CONFIG_FILE,
    MODEL_FILE,
    is_external_config,
    is_external_segmenter,
    is_saved_config,
)
from fcnjax.models.pretrained.sources.weights import (
    MAX_JSON,
    NORMALISATION_FILES,
    PREPROCESSING_FILES,
    WEIGHT_FILES,
    Weights,
    check_has_config,
    choose_file,
    find_normalisation,
    read_json_or_none,
    shard_names,
)

SYNTAX = "hf://OWNER/REPO[@REVISION][/FILE]"
TIMEOUT = 20  # seconds for the hub to answer
MAX_BYTES = 2**33  # of a file; the largest model here has 2.5 GB
_SOURCE = re.compile(
    r"hf://(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/@]+))?(?:/(?P<file>[^@]+))?"
)
# The files of a model, beside its weights: of fcnjax, or in the layout of transformers or smp.
_MODEL_FILES = (CONFIG_FILE, "metrics.json", "README.md", *PREPROCESSING_FILES)
INDEX_SUFFIX = ".index.json"  # after the name of the weights, of which there are several files
_INDICES = tuple(f"{name}{INDEX_SUFFIX}" for name in WEIGHT_FILES)
# The files to look for in the cache where the hub cannot be reached.
_USUAL_FILES = (*WEIGHT_FILES, *_INDICES, *NORMALISATION_FILES)

T = TypeVar("T")


def fetch_hub(source: str) -> Weights:
    """Download weights from the hub into the cache of huggingface_hub, by its settings.

    Without a file in the source, `choose_file` chooses it. Of a published model of fcnjax, all
    files are downloaded.

    Raises:
        UserError: An invalid source, a missing or private repository or file, or no network; says
            how to fix it.
    """
    repository = _Repository(source)
    file = repository.file or choose_file(repository.names, source)
    if file not in repository.names:
        raise UserError(
            f"{source}: unknown file; valid: {', '.join(sorted(repository.names)[:10])}"
        )
    is_segmenter = is_external_segmenter(repository.json(CONFIG_FILE))
    if (repository.file is None and is_segmenter) or (file == MODEL_FILE and repository.is_model()):
        return Weights(source, repository.download_model(), is_model=True)
    mean, std = find_normalisation(repository.json)
    return Weights(source, repository.download(file), mean=mean, std=std)


def fetch_hub_model(source: str) -> Path:
    """Download a segmentation model from the hub, and return its folder.

    Raises:
        UserError: As `fetch_hub`, and where the repository has something else.
    """
    repository = _Repository(source)
    check_has_config(repository.names, source)
    if not repository.is_model() and not is_external_config(repository.json(CONFIG_FILE)):
        raise UserError(
            f"{source}: is not a segmentation model of fcnjax, transformers or "
            "segmentation_models.pytorch, by its config.json; to train from other weights: "
            f"--config.model.init_from={source}"
        )
    return repository.download_model()


class _Repository:
    """A repository of the hub that a source names.

    Attributes:
        file: The file in the source, or None.
        names: Its files; where the hub cannot be reached, the usual ones in the cache.
    """

    def __init__(self, source: str):
        match = _SOURCE.fullmatch(source)
        if match is None:
            raise UserError(f"{source}: is not {SYNTAX}, such as hf://timm/resnet50.a1_in1k")
        # Imported here: it takes half a second, and most runs do not use the hub.
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
        self.names = self._list_files()

    def _list_files(self) -> list[str]:
        errors = self._hub.errors
        try:
            # Unlike list_repo_files, this does not retry for half a minute without network.
            info = self._call(self._api.model_info, timeout=TIMEOUT, files_metadata=True)
            self._sizes = {file.rfilename: file.size or 0 for file in info.siblings}
            return list(self._sizes)
        except UserError as error:
            # An answer of the hub; other errors are those of the network.
            if isinstance(
                error.__cause__,
                errors.RepositoryNotFoundError
                | errors.RevisionNotFoundError
                | errors.HFValidationError,
            ):
                raise
            cached = {
                name: self._hub.try_to_load_from_cache(self._name, name, revision=self._revision)
                for name in (*_USUAL_FILES, self.file)
                if name
            }
            names = [name for name, path in cached.items() if isinstance(path, str)]
            if not names:
                raise
            return names

    def json(self, name: str) -> Any:
        """Return the content of a JSON file; None where it is missing, too large or invalid."""
        is_small = name in self.names and self._sizes.get(name, 0) <= MAX_JSON
        return read_json_or_none(self.download(name)) if is_small else None

    def is_model(self) -> bool:
        """Return whether it is a published model of fcnjax."""
        return MODEL_FILE in self.names and is_saved_config(self.json(CONFIG_FILE))

    def download_model(self) -> Path:
        """Download a published model, and return its folder."""
        files = [self.download(name) for name in _MODEL_FILES if name in self.names]
        weights = next((name for name in (*WEIGHT_FILES, *_INDICES) if name in self.names), None)
        if weights is None:
            raise UserError(f"{self._source}: has no weights; valid: {', '.join(WEIGHT_FILES)}")
        path = self.download(weights)
        if weights in _INDICES:
            for name in shard_names(path):
                self.download(name)
        return files[0].parent

    def download(self, name: str) -> Path:
        """Download a file, unless it is in the cache.

        Raises:
            UserError: It is too large, or cannot be downloaded.
        """
        if (size := self._sizes.get(name, 0)) > MAX_BYTES:
            raise UserError(f"{self._source}: {name} has {size} bytes; the limit is {MAX_BYTES}")
        return Path(self._call(self._api.hf_hub_download, filename=name))

    def _call(self, call: Callable[..., T], **options: Any) -> T:
        """Call the hub, and turn its errors into one line."""
        try:
            return call(self._name, revision=self._revision, **options)
        # The types of network errors depend on its version: those of requests, httpx or others.
        except Exception as error:
            file = options.get("filename", self.file) or MODEL_FILE
            raise UserError(f"{self._source}: {self._advice(file, error)}") from error

    def _advice(self, file: str, error: Exception) -> str:
        errors = self._hub.errors
        page = f"{self._api.endpoint}/{self._name}"
        by_hand = (
            f"download {page}/resolve/{quote(self._revision or 'main', safe='')}/{file} by hand "
            "and set config.model.init_from to its path"
        )
        if isinstance(error, errors.HFValidationError):
            return f"is not {SYNTAX}: {_reason(error)}"
        if isinstance(error, errors.GatedRepoError):
            return (
                f"is gated: accept its terms at {page} and log in with `hf auth login`; or "
                f"{by_hand}"
            )
        if isinstance(error, errors.RepositoryNotFoundError):
            return (
                f"the hub has no model {self._name}, or it is private: check the name, or "
                f"log in with `hf auth login`; or {by_hand}"
            )
        if isinstance(error, errors.RevisionNotFoundError):
            return f"the model has no revision {self._revision!r}"
        return f"cannot be downloaded ({_reason(error)}); {by_hand}"


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, Exception):
        error = error.__cause__  # the original error, which huggingface_hub wraps
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
