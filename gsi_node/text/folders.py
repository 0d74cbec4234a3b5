"""What a model folder must hold before anything is read from it, and what a name stands for: a folder or a hub name."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gsi_node.errors import BackendUnavailable
from gsi_node.host.paths import expanded
from gsi_node.text.reading import reading

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def find_source(name_or_path: str | Path) -> tuple[str, bool]:
    """What to give to from_pretrained, and whether it is a local folder."""
    folder = expanded(name_or_path)
    if folder.is_dir():
        _check_folder(folder)
        return str(folder), True
    if isinstance(name_or_path, Path) or not _HUB_NAME.fullmatch(name_or_path):
        raise BackendUnavailable(f"model folder {folder} does not exist; give a folder, or owner/name on the hub")
    return name_or_path, False


def _check_folder(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names:
        raise BackendUnavailable(f"model folder {folder} has no config.json (it has: {_some(names)})")
    if not any(name.endswith((".safetensors", ".safetensors.index.json")) for name in names):
        raise BackendUnavailable(
            f"model folder {folder} has no safetensors weights (it has: {_some(names)}); "
            "pickled weights are never loaded: convert them with save_pretrained(…) first"
        )
    for name in names:
        if name.endswith(".safetensors.index.json"):
            _check_index(folder / name)
    if not any(name in names for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")):
        raise BackendUnavailable(
            f"model folder {folder} has no tokenizer (it has: {_some(names)}); save the model's tokenizer there"
        )


def _check_index(path: Path) -> None:
    """Refuse an index of weights that names anything but safetensors files beside it.

    transformers reads whatever the index names, pickles too, also where it is told to use safetensors.
    """
    with reading(f"index of weights {path}"):
        files = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        wrong = [name for name in files if not name.endswith(".safetensors") or Path(name).name != name]
    if wrong:
        raise BackendUnavailable(
            f"{path} names {wrong[0]!r}, which is no safetensors file of its folder: nothing is read"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (" …" if len(names) > 8 else "") if names else "nothing"


def hint(local: bool) -> str:
    """What to add to an error about a folder (nothing) or a hub name."""
    return "" if local else "; if the hub cannot be reached from here, download the model and give its folder"
