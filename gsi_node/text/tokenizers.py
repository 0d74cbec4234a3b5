"""Tokenizers from their files: no remote code, and a local folder never touches the network. None of it needs torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import try_to_load_from_cache
from tokenizers import Tokenizer

from gsi_node.errors import BackendUnavailable
from gsi_node.host.paths import expanded
from gsi_node.text.folders import hint
from gsi_node.text.reading import reading

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_tokenizer(source: str, local: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub name, which must do what its tokenizer.json says.

    transformers 5 rebuilds the tokenizer of some model types (qwen2) from the vocabulary alone, with that type's usual
    pre-tokenizer, whatever the file says. Where the two disagree, the file is right.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast  # they load torch where it is installed

    with reading(f"the tokenizer of {source!r}", hint(local)):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=local
        )
        path = str(Path(source) / "tokenizer.json") if local else try_to_load_from_cache(source, "tokenizer.json")
        if not isinstance(path, str) or not Path(path).is_file():
            return tokenizer
        written, rebuilt = Tokenizer.from_file(path), getattr(tokenizer, "backend_tokenizer", None)
        if rebuilt is not None and rebuilt.get_vocab() == written.get_vocab() and _probe(rebuilt) == _probe(written):
            return tokenizer
        faithful: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(source, local_files_only=local)
        return faithful


def served_tokenizer(source: str, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model that runs elsewhere: a folder, which needs no more than its files, or a hub name.

    name: of that model, for BackendUnavailable.
    """
    path = expanded(source)
    try:
        return load_tokenizer(str(path) if path.is_dir() else source, path.is_dir())
    except BackendUnavailable as error:
        raise BackendUnavailable(
            f"{name}: {error}; give ?tokenizer=FOLDER with the served model's tokenizer files"
        ) from error


def eos_beside(source: str) -> list[int]:
    """The ids that generation_config.json beside a tokenizer calls EOS; none where there is no such file."""
    path = expanded(source) / "generation_config.json"
    if not path.is_file():
        return []
    with reading(str(path)):
        return eos_ids(json.loads(path.read_text("utf-8")).get("eos_token_id"), str(path))


def eos_ids(configured: object, name: str) -> list[int]:
    """What a generation config calls EOS: an id, several, or none. Raises BackendUnavailable for anything else."""
    told = configured if isinstance(configured, list) else [] if configured is None else [configured]
    ids = [i for i in told if type(i) is int]
    if len(ids) < len(told):
        raise BackendUnavailable(f"{name}: eos_token_id is {configured!r:.60}; want an id, a list of ids or null")
    return ids


def _probe(tokenizer: Tokenizer) -> list[int]:
    text = "Step 1: So the sum is 12+3*45 = 147.\n\nIt's\t\\boxed{x_1}.\n\n\n  αβ <b>"
    return list(tokenizer.encode(text, add_special_tokens=False).ids)
