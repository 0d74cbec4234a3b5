"""Sampling as tensors: where rows end under several rules in one batch, and what a tick costs in Python."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gsi_node.engine.decode import Decoder
from gsi_node.engine.requests import SampleRequest
from gsi_node.models.transformers import TransformersModel
from gsi_node.types import PARAGRAPH, Ends, Key, Prefix, SamplingLaw
from tests.miniature import Miniatures

READS = {f"aten.{name}.default" for name in ("item", "is_nonzero", "_local_scalar_dense", "resolve_conj")}
"""What int(), bool() and tolist() of a tensor are."""
BLANK = b" \t\n\r\v\f"
WHOLE = SamplingLaw(temperature=1.5, max_step_tokens=60, ends=Ends(()))
RULES = (
    PARAGRAPH,
    Ends(("\n",), after_text=True),
    Ends(("1", "}."), after_text=True),
    Ends(("}.", ".2", "x\n", "+-")),
    Ends(()),
)


def ended(model: TransformersModel, ids: tuple[int, ...], ends: Ends, limit: int) -> tuple[int, ...]:
    """`ids` up to their first end, found as a text in the bytes of what stands before it."""
    control, eos, written = model.tokens.codec.control_ids, model.tokens.eos_ids, b""
    for count, token in enumerate(ids, 1):
        before = len(written)
        written = b"" if token in control else written + model.tokens.bytes_of[token]
        for stop in range(before + 1, len(written) + 1):
            here = written[:stop]
            if (not ends.after_text or here.strip(BLANK)) and any(here.endswith(s.encode()) for s in ends.strings):
                return ids[:count]
        if token in eos or count == limit:
            return ids[:count]
    raise AssertionError("no end")


def test_rows_of_several_rules_in_one_batch_end_where_a_search_finds_the_end(miniatures: Miniatures) -> None:
    """Every row has the tokens of the row that goes on, up to its own end: sixteen at a time, in company of others."""
    model, n = miniatures.language(dtype="float64", end_bias=0.0), 40
    laws = [replace(WHOLE, ends=ends, max_step_tokens=limit) for ends in RULES for limit in (60, 7)]

    def drawn(law: SamplingLaw) -> list[tuple[int, ...]]:
        return [step.token_ids for step in model.sample(Prefix("1+1"), n, Key(1, "p", 0, "draft"), law)]

    whole = drawn(WHOLE)
    with ThreadPoolExecutor(len(laws)) as pool:
        found = list(pool.map(drawn, laws))
    for law, rows in zip(laws, found, strict=True):
        assert rows == [ended(model, ids, law.ends, law.max_step_tokens) for ids in whole]
    assert all(rows != whole for rows in found[: 2 * len(RULES) - 2])


def test_rows_that_nothing_ends_have_each_their_most_tokens(miniatures: Miniatures) -> None:
    model = miniatures.language()
    ids, law = model.prefix_ids(Prefix("1+1")), SamplingLaw(ends=Ends(()), eos_ids=())
    requests = [
        SampleRequest(ids, 3, Key(0, "p", 0, "d"), law, limit=limit, ends=model.step_ends(law), size=model.tokens.size)
        for limit in (9, 3, 70)
    ]
    decoder = Decoder(model.engine.runner)
    with torch.inference_mode():
        for request in requests:
            decoder.join(list(request.parts()), model.engine.runner.contexts([ids[:-1]]))
            decoder.tick()
        while decoder.parts:
            decoder.tick()
    found = [[row for row, _ in request.future.result(timeout=0)] for request in requests]
    assert [[len(row) for row in rows] for rows in found] == [[9] * 3, [3] * 3, [70] * 3]
    assert found[0] == [row[:9] for row in found[2]]


class Transfers(TorchDispatchMode):
    """Numbers that tensors were read into Python as."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen += str(func) in READS
        return func(*args, **(kwargs or {}))


def cost(model: TransformersModel, n: int) -> tuple[int, int]:
    """Bytecodes of the decoder, and transfers, of one tick of n rows in which none ends or splits."""
    ids, law = model.prefix_ids(Prefix("1+1")), SamplingLaw(ends=Ends(()), eos_ids=())
    request = SampleRequest(
        ids, n, Key(1, "p", 0, "draft"), law, limit=60, ends=model.step_ends(law), size=model.tokens.size
    )
    decoder, executed = Decoder(model.engine.runner), 0
    with torch.inference_mode():
        parts = list(request.parts())
        decoder.join(parts, model.engine.runner.contexts([ids[:-1]] * len(parts)))
        while len(decoder.batch.groups[0].live) < n:  # candidates that are one row so far
            decoder.tick()

        def count(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal executed
            here = frame.f_code.co_filename.endswith(("engine/decode.py", "engine/delta.py", "engine/row.py"))
            frame.f_trace_opcodes, frame.f_trace_lines = here, False
            executed += event == "opcode"
            return count if here else None

        before = sys.gettrace()
        with Transfers() as transfers:
            sys.settrace(count)
            try:
                decoder.tick()
            finally:
                sys.settrace(before)
    return executed, transfers.seen


def test_a_tick_is_the_same_python_for_any_number_of_rows(miniatures: Miniatures) -> None:
    model = miniatures.language()
    executed, transfers = cost(model, 2)
    assert executed > 20
    assert transfers == 1
    assert cost(model, 48) == (executed, transfers)
