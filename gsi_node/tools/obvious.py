"""One step of GSI the obvious way, on plain transformers models: what `gsi bench --engines` compares the engine with.

Everything is tokenised and prefilled again at every step: `generate` for the candidates, one full-sequence forward
without a cache for each model's log-probabilities and for the rewards. The mathematics is that of stages.py.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from gsi_node.engine.loading import load_pretrained
from gsi_node.pocket import path
from gsi_node.step.config import GSIConfig


class ObviousGSI:
    """The shipped models, loaded by transformers alone."""

    def __init__(self, config: GSIConfig, stop_ids: list[int], device: str) -> None:
        self.config, self.stop_ids, self.device = config, stop_ids, device
        self.draft, self.tokenizer = load_pretrained(
            AutoModelForCausalLM, path("draft"), device=device, dtype="float32"
        )
        self.base, _ = load_pretrained(AutoModelForCausalLM, path("base"), device=device, dtype="float32")
        self.reward, _ = load_pretrained(
            AutoModelForTokenClassification, path("reward"), device=device, dtype="float32"
        )

    @torch.inference_mode()
    def step(self, problem: str, given: str, seed: int) -> str:
        """The text of the next step after `given`."""
        torch.manual_seed(seed)
        beta, n = self.config.beta, self.config.n
        prompt = self._ids(problem, given)
        rows = self._generate(self.draft, prompt, n)
        texts = self._texts(rows, prompt)
        rewards = torch.tensor(self._rewards(problem, given, texts))
        ratios = self._log_probs(self.base, rows, prompt) - self._log_probs(self.draft, rows, prompt)
        tilted = rewards + ratios.cpu().double() / beta
        chosen = int(torch.multinomial(torch.softmax(beta * tilted, 0), 1))
        if float(tilted[chosen]) >= self.config.threshold:
            return texts[chosen]
        rows = self._generate(self.base, prompt, n)
        texts = self._texts(rows, prompt)
        rewards = torch.tensor(self._rewards(problem, given, texts))
        return texts[int(torch.multinomial(torch.softmax(beta * rewards, 0), 1))]

    def _texts(self, rows: Tensor, prompt: Tensor) -> list[str]:
        own = rows[:, prompt.shape[1] :]
        return [str(self.tokenizer.decode(row, skip_special_tokens=True)) for row in own]

    def _ids(self, problem: str, given: str) -> Tensor:
        text: Any = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": problem}], tokenize=False, add_generation_prompt=True
        )
        ids = self.tokenizer(text + given, add_special_tokens=False)["input_ids"]
        return torch.tensor([ids], device=self.device)

    def _generate(self, model: Any, prompt: Tensor, n: int) -> Tensor:
        rows: Tensor = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=True,
            temperature=self.config.temperature,
            top_k=0,
            top_p=1.0,
            num_return_sequences=n,
            max_new_tokens=self.config.max_step_tokens,
            eos_token_id=self.stop_ids,
            pad_token_id=0,
        )
        return rows

    def _log_probs(self, model: Any, rows: Tensor, prompt: Tensor) -> Tensor:
        """Σ log π(token | before) over each row's own tokens."""
        start = prompt.shape[1]
        logits = model(input_ids=rows, use_cache=False).logits[:, start - 1 : -1] / self.config.temperature
        picked = torch.log_softmax(logits, -1).gather(-1, rows[:, start:, None])[..., 0]
        return (picked * (rows[:, start:] != 0)).sum(-1)

    def _rewards(self, problem: str, given: str, texts: list[str]) -> list[float]:
        """P(good) of each text, read at its end."""
        ids = [self._ids(problem, given + text.rstrip("\n") + "\n\n")[0] for text in texts]
        rows = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
        logits = self.reward(input_ids=rows, use_cache=False).logits
        ends = torch.tensor([len(row) - 1 for row in ids], device=logits.device)
        good = torch.softmax(logits[torch.arange(len(ids), device=logits.device), ends], -1)[:, 1]
        return [float(value) for value in good]
