"""The shared tokenizer: words with their leading space, single digits, operators with their spaces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>", "<user>", "<assistant>")
ALPHABET = [chr(code) for code in range(32, 127)] + ["\n", *"×·÷−"]
PIECES = "|".join(
    (
        r"\n\n",
        r"\n",
        r"\\boxed\{",
        r"\}\.",
        r"\d",
        r" [-+*/=×·÷−] ",
        r" ?[A-Za-z]+(?: (?=\d))?",
        r"[,.:?] (?=[\d(])",
        r"[,.:?]",
    )
)
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' and loop.first %}<user>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' and loop.index0 == 1 %}<assistant>{{ message['content'] }}{{ eos_token }}"
    '{% else %}{{ raise_exception("the pocket models know one question at a time and no system turn") }}{% endif %}'
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""What they were trained on: a question, and its answer."""


def train_tokenizer(texts: Iterable[str], size: int = 1024) -> Tokenizer:
    """Byte-pair merges inside the pieces of `PIECES`, learned from `texts`; unknown characters become `<unk>`."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=20,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=ALPHABET,
        limit_alphabet=len(ALPHABET),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers loads it, with the chat template."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<bos>",
        eos_token="<eos>",
        additional_special_tokens=["<user>", "<assistant>"],
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
        padding_side="left",
        chat_template=TEMPLATE,
    )


def build() -> PreTrainedTokenizerFast:
    """The tokenizer of the shipped models: learned from 20,000 training problems of seed 0."""
    from gsi_node.pocket.world.problems import problems

    drawn = problems("train", 0, 20_000)
    return wrap(train_tokenizer(text for item in drawn for text in (item.problem, "\n\n".join(item.solution))))


def load(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer stored in a model's folder."""
    from transformers import PreTrainedTokenizerFast

    found: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return found
