"""Models of the Hugging Face hub: in a local folder, the local cache or, if it answers, the hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import torch

from ..files import BadInput, existing, read_json
from .weights import file_ends

CONNECT_SECONDS = 5.0
"""How long to wait for the hub's first answer before calling it unreachable."""


class HubModel:
    """A hub model's files: its config, its preprocessing constants and its weights.

    Args:
        source: a local folder with config.json and model.safetensors, or a hub id such as
            ``facebook/dinov2-small``.

    Raises:
        BadInput: the weights are not there and cannot be had, or the folder is not a model.
    """

    def __init__(self, source: str | Path):
        self.source = str(source)
        self.folder = Path(source) if Path(source).is_dir() else None
        self._options = {"local_files_only": True}
        if self.folder is not None:
            existing(self.folder / "config.json")
            if not any(self.folder.glob("*.safetensors")):
                raise BadInput(f"{self.folder}: no *.safetensors weights beside config.json")
        elif not self._in_cache():
            if not _hub_answers():
                raise BadInput(
                    missing(
                        self.source,
                        "the hub cannot be reached and the local cache does not have it",
                    )
                )
            self._options = {}
        self.config = json.loads(self._text("config.json", required=True))
        self.model_type = self.config.get("model_type", "")

    def load(self, model_class: str, device: torch.device) -> torch.nn.Module:
        """The frozen network as transformers' class of that name, float32, in evaluation mode."""
        transformers = import_transformers()
        try:
            with _quiet(transformers):
                model, report = getattr(transformers, model_class).from_pretrained(
                    str(self.folder or self.source),
                    use_safetensors=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                    **self._options,
                )
        except Exception as error:  # transformers, safetensors and the hub client raise many kinds
            raise BadInput(missing(self.source, _one_line(error))) from error
        absent = sorted(report["missing_keys"])
        if absent:
            raise BadInput(
                f"{self.source}: weights lack {len(absent)} of {model_class}: {absent[0]}, ..."
            )
        return model.to(device).eval().requires_grad_(False)

    def tokenizer(self):
        """The tokenizer that belongs to the text tower."""
        transformers = import_transformers()
        try:
            with _quiet(transformers):
                return transformers.AutoTokenizer.from_pretrained(
                    str(self.folder or self.source), **self._options
                )
        except Exception as error:
            raise BadInput(
                f"{self.source}: the tokenizer could not be loaded ({_one_line(error)})"
            ) from error

    def normalisation(self, mean: tuple, std: tuple) -> tuple[tuple, tuple]:
        """``image_mean`` and ``image_std`` of its preprocessing, or the given if it names none."""
        settings = json.loads(self._text("preprocessor_config.json") or "{}")
        if not settings:
            settings = json.loads(self._text("processor_config.json") or "{}").get(
                "image_processor", {}
            )
        return tuple(settings.get("image_mean", mean)), tuple(settings.get("image_std", std))

    def fingerprint(self) -> str:
        """Changes whenever the weights do: from the files of a folder, or the hub's commit."""
        digest = hashlib.blake2b(json.dumps(self.config, sort_keys=True).encode(), digest_size=12)
        if self.folder is None:
            path = self._cached_file("config.json")
            digest.update(f"{self.source}@{Path(path).parent.name}".encode())
        else:
            for path in sorted(self.folder.glob("*.safetensors")):
                digest.update(file_ends(path).encode())
        return digest.hexdigest()

    def _in_cache(self) -> bool:
        return self._cached_file("config.json") is not None and any(
            self._cached_file(name) is not None
            for name in ("model.safetensors", "model.safetensors.index.json")
        )

    def _cached_file(self, name: str) -> str | None:
        import_transformers()
        from transformers.utils import cached_file

        try:
            return cached_file(
                self.source,
                name,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                **self._options,
            )
        except OSError as error:  # no such repository, gated, or a malformed id
            if self._options.get("local_files_only"):
                return None
            raise BadInput(missing(self.source, _one_line(error))) from error

    def _text(self, name: str, required: bool = False) -> str:
        path = self.folder / name if self.folder is not None else self._cached_file(name)
        if path is None or not Path(path).is_file():
            if required:
                raise BadInput(missing(self.source, f"no {name} there"))
            return ""
        if not isinstance(read_json(path), dict):
            raise BadInput(f"{path}: expected a JSON object")
        return Path(path).read_text(encoding="utf-8")


def is_hub_id(text: str) -> bool:
    """Whether ``text`` may be ``organisation/model``, and no path."""
    return text.count("/") == 1 and not text.startswith((".", "/", "~")) and not text.endswith(".npz")


def import_transformers():
    """The transformers package, or :class:`BadInput` saying how to get it."""
    try:
        import transformers
    except ImportError as error:
        raise BadInput(
            "this teacher needs the package transformers: pip install 'semaflow[teachers]', "
            "or use precomputed maps or the classical teacher"
        ) from error
    return transformers


def missing(source: str, reason: str) -> str:
    """The one line for weights that are not there, naming the ways to get them."""
    return (
        f"teacher weights {source}: {reason}. Ways on: give a local folder with config.json and "
        f"model.safetensors; "
        f"download it on a connected machine (hf download {source}); "
        f"give precomputed maps (npz or safetensors, one [h,w,D] per frame); "
        f"or use the teacher classical"
    )


def _hub_answers() -> bool:
    """Whether the hub answers at all. In a thread, since a name lookup knows no time limit."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
            with urllib.request.urlopen(request, timeout=CONNECT_SECONDS):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    return answered.is_set()


@contextlib.contextmanager
def _quiet(transformers) -> Iterator[None]:
    """No loading bars and warnings: the caller checks and says what matters."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 160 else text[:157] + "..."
