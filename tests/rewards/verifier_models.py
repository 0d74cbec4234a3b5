"""Miniature verifiers that write: one whose next token depends on the last alone, by a table, and a random one."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from gsi_node.models.transformers import TransformersModel
from gsi_node.rewards.generative.reward import GenerativeReward
from gsi_node.types import Key, Prefix, SamplingLaw, Score, Step
from tests.miniature import SPECIAL, TEMPLATE
from tests.thinker import CLOSED, Laws, build_thinker

QUESTION = "Verification: Is the answer correct (Yes/No)?"
WORDS = (QUESTION, "The step is ", "\\boxed{", "</analyze>\n", "correct", "incorrect", " Yes", " No", "Yes")
CHARACTERS = "".join(c for c in string.printable if c not in "\t\r\x0b\x0c")
THINKS = TEMPLATE.replace("assistant\n{% endif %}", "assistant\n" + CLOSED + "{% endif %}{% endif %}")


def verifier_tokenizer(*, thinks: bool = False) -> PreTrainedTokenizerFast:
    """Printable characters, and words about verdicts as tokens of their own."""
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *WORDS, *CHARACTERS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    escaped = ["".join(f"\\{c}" if c in "\\{}()?." else c for c in word) for word in WORDS]
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join([*escaped, "[\\s\\S]"])), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
        chat_template=THINKS if thinks else TEMPLATE,
    )
    if thinks:
        made.add_tokens([AddedToken(name, special=False, normalized=False) for name in ("<think>", "</think>")])
    return made


def tabled(folder: Path, laws: Laws, *, thinks: bool = False) -> Path:
    """A verifier that follows `laws`; behind any other token comes EOS."""
    return build_thinker(folder, laws={"": {"<eos>": 1.0}, **laws}, tokenizer=verifier_tokenizer(thinks=thinks))


def random_verifier(folder: Path) -> Path:
    """A random one in float64."""
    tokenizer = verifier_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    torch.manual_seed(5)
    model = LlamaForCausalLM(config).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.25 if parameter.dim() > 1 else 0.1)
        model.model.norm.weight.fill_(1.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


PROBLEM = "What is 2+2?"
SLOT = "The step is \\boxed{"


def step(text: str, *, finished: bool = False, thought: int = 0) -> Step:
    return Step(text, (1,), 0.0, finished, thought=thought)


ONE = Prefix(PROBLEM, (step("2+2=4.\n\n"),))
TWO = (step("So it is\n\n4.\n\n"), step("It is 5."))


class Listening(TransformersModel):
    """One that keeps what it was asked, as text, and by which keys."""

    def sample(self, prefix: Prefix, n: int, key: Key, law: SamplingLaw) -> list[Step]:
        self.keys = [*getattr(self, "keys", []), key]
        self.asked = [*getattr(self, "asked", []), self.tokens.codec.decode(self.prefix_ids(prefix))]
        return super().sample(prefix, n, key, law)

    def score(self, prefix: Prefix, steps: Sequence[Step], law: SamplingLaw) -> list[Score]:
        words = "|".join(self.tokens.codec.decode(one.token_ids) for one in steps)
        read = self.tokens.codec.decode([i for one in prefix.steps for i in one.token_ids])
        self.read = [*getattr(self, "read", []), (read, words)]
        return super().score(prefix, steps, law)


def listening(folder: Path) -> Any:
    return Listening.from_pretrained(folder, dtype="float64")


# What each format asks about the second step of a solution, written by hand; the chat template's part as TEMPLATE is.
USER, END, ANSWER = "<|im_start|>user\n", "<|im_end|>\n", "<|im_start|>assistant\n"
ASKED = {
    "thinkprm": (
        f"<bos>{USER}You are given a math problem and a proposed step-by-step solution:\n\n[Math Problem]\n\n"
        "What is 2+2?\n\n[Solution]\n\nStep 1: 2+2=4.\nStep 2: So it is\n4.\n\nReview and critique each step in the "
        "proposed solution to determine whether each step is correct. If the solution is incomplete, only verify the "
        f"provided steps.{END}{ANSWER}\nLet's verify step by step:"
    ),
    "genprm": (
        "<bos><|im_start|>system\nYou are a math teacher. Your task is to review and critique the paragraphs in "
        f"solution step by step.{END}{USER}Question: What is 2+2?\n\n2+2=4.{END}{ANSWER}<output>\n"
        f"**Judgement**: $\\boxed{{Yes}}$\n</output>{END}{USER}So it is\n4.{END}{ANSWER}"
        "<analyze>\nLet's analyze the Paragraph 2 step by step: "
    ),
    "yesno": (
        f"<bos>{USER}Check a solution of a problem. It may stop early: then check what there is of it.\n\nProblem:\n"
        "What is 2+2?\n\nSolution:\n2+2=4.\n\nSo it is\n\n4.\n\nGo through it, and work out anew whatever it states. "
        "Write last, on a line of its own and followed by Yes or No:\nVerification: Is the answer correct (Yes/No)?"
        f"{END}{ANSWER}Let's verify step by step.\n"
    ),
}
LAWS: dict[str, Laws] = {
    "thinkprm": {
        ":": {"The step is ": 0.8, "z": 0.2},
        "The step is ": {"\\boxed{": 0.6, "\\": 0.4},
        **{a: {b: 1.0} for a, b in zip("\\boxed", "boxed{", strict=True)},
        "\\boxed{": {"correct": 0.8, "incorrect": 0.2},
        "{": {"correct": 0.3, "incorrect": 0.6, "z": 0.1},
        "correct": {"The step is ": 0.7, "z": 0.3},
        "incorrect": {"The step is ": 0.5, "z": 0.5},
    },
    "genprm": {
        " ": {"</analyze>\n": 0.7, "z": 0.3},
        "\\boxed{": {"Yes": 0.5, "N": 0.3, "z": 0.2},
    },
    "yesno": {
        "\n": {QUESTION: 0.4, "y": 0.4, "x": 0.2},
        "y": {"<eos>": 1.0},
        "x": {"x": 1.0},
        QUESTION: {" Yes": 0.5, " No": 0.3, "z": 0.2},
    },
}
"""Next tokens by the last one; "z" is followed by EOS. ThinkPRM's slot has two spellings, with a verdict each."""
READ = {  # behind the question, of chains with a verdict: what is read at its token, and what it is worth
    "thinkprm": {"\\boxed{": 0.8, "{": 0.3 / 0.9},
    "genprm": {"\\boxed{": 0.5 / 0.8},
    "yesno": {QUESTION: 0.5 / 0.8},
}
MOST = 24  # tokens of a chain


def chances(laws: Laws, last: str, temperature: float) -> dict[str, float]:
    law: Mapping[str, float] = laws.get(last, {"<eos>": 1.0})
    raised = {token: p ** (1 / temperature) for token, p in law.items()}
    return {token: p / sum(raised.values()) for token, p in raised.items()}


def enumerated(name: str, k: int, temperature: float) -> dict[float | None, float]:
    """The law of a chain's P(+) about a k-th step, None for no verdict: all chains summed over, by hand."""
    laws, found = LAWS[name], dict[float | None, float]()

    def verdict(chain: list[str]) -> float | None:
        said = "".join(chain[:-1] if chain[-1] == "<eos>" else chain)
        if name == "genprm":
            return 0.5 / 0.8 if said.endswith("</analyze>\n") else None
        if name == "yesno":
            return 0.5 / 0.8 if QUESTION in said or (said and chain[-1] == "<eos>") else None
        slots = [i for i in range(1, len(chain) + 1) if "".join(chain[:i]).endswith(SLOT)]
        if len(slots) >= k:
            return READ[name][chain[slots[k - 1] - 1]]
        ends = bool(slots) and chain[-1] == "<eos>" and chain[slots[-1]] == "incorrect"
        return READ[name][chain[slots[-1] - 1]] if ends else None

    def walk(chain: list[str], p: float) -> None:
        if chain and (chain[-1] in ("<eos>", "</analyze>\n") or len(chain) == MOST):
            found[verdict(chain)] = found.get(verdict(chain), 0.0) + p
            return
        last = chain[-1] if chain else {"thinkprm": ":", "genprm": " ", "yesno": "\n"}[name]
        for token, chance in chances(laws, last, temperature).items():
            walk([*chain, token], p * chance)

    walk([], 1.0)
    return found


@cache
def folder_of(root: Path, name: str) -> Path:
    return random_verifier(root / name) if name == "random" else tabled(root / name, LAWS[name])


def verifier(root: Path, name: str, **settings: Any) -> GenerativeReward:
    model = listening(folder_of(root, name))
    return GenerativeReward(model, family=name, **{"max_tokens": MOST, **settings})
