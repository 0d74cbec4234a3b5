"""A model that thinks, as a folder of a real one: its next token depends on the last alone, by a table.

Its layers do nothing, so that the head reads the embedding of the last token. Kept free of pytest, so that
subprocesses can build the same folders.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.miniature import TEMPLATE, miniature_tokenizer

Laws = Mapping[str, Mapping[str, float]]
HIDDEN = 128
CLOSED = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
TEMPLATES = {
    "itself": TEMPLATE.replace("assistant\n{% endif %}", "assistant\n" + CLOSED + "{% endif %}{% endif %}"),
    "prompt": TEMPLATE.replace(
        "assistant\n{% endif %}", "assistant\n" + CLOSED + "{% else %}<think>\n{% endif %}{% endif %}"
    ),
    "switch": TEMPLATE.replace(
        "assistant\n{% endif %}",
        "assistant\n{% if messages[0]['role'] == 'system' %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
    ),
}
"""Who opens the block: the model itself, as Qwen3; its prompt, as DeepSeek-R1's; the third's system turns close it."""
USUAL: Laws = {
    "<think>": {" the": 1.0},
    " the": {" sum": 0.5, " is": 0.5},
    " sum": {" is": 1.0},
    " is": {"1": 0.4, "2": 0.4, " so": 0.2},
    "1": {".\n\n": 1.0},
    "2": {".\n\n": 0.7, "\n\n": 0.3},
    ".\n\n": {" the": 0.6, " so": 0.2, "</think>": 0.2},
    " so": {"\\boxed{": 1.0},
    "\\boxed{": {"3": 0.5, "4": 0.5},
    "3": {"}.": 1.0},
    "4": {"}.": 1.0},
    "}.": {".\n\n": 0.6, "\n\n\n": 0.4},
    "\n\n\n": {" the": 0.9, "<eos>": 0.1},
    "</think>": {"\n\n": 1.0},
    "\n\n": {" so": 0.7, " the": 0.3},
}
"""Thoughts in paragraphs, some of which hold a box; then an answer, which a box ends."""


def thinking_tokenizer(opened: str = "itself") -> PreTrainedTokenizerFast:
    """The miniature one, with tokens that open and close thinking."""
    tokenizer = miniature_tokenizer()
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in ("<think>", "</think>")])
    tokenizer.chat_template = TEMPLATES[opened]
    return tokenizer


def build_thinker(
    folder: Path, *, opened: str = "itself", laws: Laws = USUAL, tokenizer: PreTrainedTokenizerFast | None = None
) -> Path:
    """Write the model to `folder`, and return it. laws: by the last token's text, the next ones'; any other is followed
    by what begins a response, or that of "". tokenizer: None for a thinking one."""
    tokenizer = tokenizer or thinking_tokenizer(opened)
    rows = len(tokenizer)
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=HIDDEN,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        rms_norm_eps=1e-12,
    )
    model = LlamaForCausalLM(config)
    begin = laws.get("", {"<think>": 1.0} if opened != "prompt" else {" the": 1.0})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_() if parameter.dim() > 1 else parameter.fill_(1.0)
        model.model.embed_tokens.weight[:, :rows] = torch.eye(rows)
        for last in range(rows):
            law = laws.get(str(tokenizer.convert_ids_to_tokens(last)), begin)
            logits = torch.full((rows,), -80.0)
            for text, probability in law.items():
                logits[tokenizer.convert_tokens_to_ids(text)] = math.log(probability)
            model.lm_head.weight[:, last] = logits / math.sqrt(HIDDEN)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
