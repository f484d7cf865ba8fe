"""Fetches a model's files from a Hugging Face hub with its own client, where the user has installed that."""

from pathlib import Path
from typing import Any

from halfbeat.models.catalogue import HubSource
from halfbeat.models.errors import SourceUnavailable

INSTALL = "pip install 'halfbeat[hub]'"


def fetch(source: HubSource, file: str, folder: Path) -> Path:
    """Brings one file of the model into `folder` and returns where it lies. Raises `SourceUnavailable`.

    The client resumes, and takes address, token and proxy from its own configuration (`HF_ENDPOINT`, `HF_TOKEN`).
    """
    client = _client()
    try:
        path = client.hf_hub_download(
            repo_id=source.repo, filename=source.paths[file], revision=source.revision, local_dir=str(folder)
        )
    except Exception as error:  # the client's own classes, those of its HTTP library, and OSError
        raise SourceUnavailable(f"{source.paths[file]}: {type(error).__name__}: {str(error)[:200]}") from error
    return Path(path)


def _client() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise SourceUnavailable(f"its client is not installed: {INSTALL}") from None
    return huggingface_hub
