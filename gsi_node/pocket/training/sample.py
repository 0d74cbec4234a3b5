"""A small batched sampler for measuring the models (the package's own engines are not needed here)."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast

from gsi_node.pocket.training.data import prompt_ids


def pick(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """One id a row: the likeliest at temperature 0, else a draw from softmax(logits / temperature)."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]


@torch.inference_mode()
def _batch(
    model: LlamaForCausalLM, prompts: list[list[int]], *, pad: int, end: int, temperature: float, most: int, seed: int
) -> list[list[int]]:
    generator = torch.Generator(model.device).manual_seed(seed)
    width = max(map(len, prompts))
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = (torch.arange(width) >= width - torch.tensor([len(prompt) for prompt in prompts])[:, None]).long()
    ids, mask = ids.to(model.device), mask.to(model.device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    named = {"cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values": cache}
    rows: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    for _ in range(most):
        output = model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **named)
        chosen = pick(output.logits[:, -1].float(), temperature, generator)
        for place, token in zip(alive, chosen.tolist(), strict=True):
            rows[place].append(token)
        keep = (chosen != end).nonzero()[:, 0]
        if len(keep) == 0:
            break
        if len(keep) < len(alive):
            cache.reorder_cache(keep.long())  # type: ignore[arg-type]
            alive = [alive[index] for index in keep.tolist()]
            mask, positions, chosen = mask[keep], positions[keep], chosen[keep]
        ids = chosen[:, None]
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        positions = positions[:, -1:] + 1
    return rows


def sample(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    *,
    temperature: float,
    seed: int,
    batch: int = 100,
    most: int = 192,
    begun: Sequence[str] | None = None,
) -> list[str]:
    """One response a question, without the end token and at most `most` tokens; a pure function of its arguments.

    It goes on from the text in `begun`, where that is given (and does not repeat it). Runs on the model's device.
    """
    prompts = prompt_ids(tokenizer, list(questions))
    if begun is not None:
        starts = tokenizer(list(begun), add_special_tokens=False)["input_ids"]
        prompts = [prompt + start for prompt, start in zip(prompts, starts, strict=True)]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    texts = [""] * len(prompts)
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    for start in range(0, len(order), batch):
        chunk = order[start : start + batch]
        some = [prompts[i] for i in chunk]
        rows = _batch(model, some, pad=pad, end=end, temperature=temperature, most=most, seed=seed + start)
        for index, row in zip(chunk, rows, strict=True):
            texts[index] = str(tokenizer.decode(row[:-1] if row[-1] == end else row))
    return texts
