"""Decoding in fixed shapes, recorded and replayed: the same tokens; what is padded is never read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gsi_node.engine import fixed, graphs
from gsi_node.engine.batch import Batch
from gsi_node.engine.budget import Extent
from gsi_node.engine.fixed import ROWS, FixedBatch, laid, rows_laid, tokens_laid
from gsi_node.engine.graphs import Recordings
from gsi_node.models.transformers import TransformersModel
from gsi_node.specs.load import load_model
from gsi_node.step.methods import METHODS
from gsi_node.types import Ends, Key, Prefix, SamplingLaw
from tests.engine.company import models, requests, same, together
from tests.engine.taped import TapeRecorder, recorded
from tests.engine.test_tree import asked, decoded, mixed, plain, pocket, whole_runs
from tests.miniature import Miniatures

__all__ = ["pocket"]  # a fixture
ENDLESS = SamplingLaw(temperature=1.0, max_step_tokens=12, ends=Ends(()), eos_ids=())


@pytest.fixture(scope="module")
def model(miniatures: Miniatures) -> TransformersModel:
    return miniatures.language(dtype="float64", end_bias=1.0)


@pytest.fixture(scope="module")
def wanted(model: TransformersModel) -> Callable[[int], list[Any]]:
    """`mixed`, decoded as on a CPU."""
    known: dict[int, list[Any]] = {}

    def find(seed: int) -> list[Any]:
        if seed not in known:
            known[seed] = mixed(model, seed)
        return known[seed]

    return find


def test_what_is_laid_out_is_the_least_of_few_sizes() -> None:
    assert [rows_laid(rows) for rows in (1, 3, 16, 17, 65, 97, 129, 300)] == [1, 4, 16, 32, 96, 128, 256, 384]
    assert [tokens_laid(tokens) for tokens in (0, 64, 65, 97, 129, 2048, 2049)] == [64, 64, 96, 128, 192, 2048, 3072]
    assert laid((5, 7, 100, 65)) == (8, 8, 128, 96)
    for most, size in ((128, rows_laid), (4096, tokens_laid)):
        sizes = [size(i) for i in range(1, most + 1)]
        assert all(a >= i for i, a in enumerate(sizes, 1))
        assert sizes == sorted(sizes)
        assert len(set(sizes)) <= 13
    assert set(ROWS) == {rows_laid(i) for i in range(1, 129)}


@pytest.mark.parametrize("seed", range(2))
def test_a_tape_draws_what_is_drawn_without(
    model: TransformersModel, wanted: Callable[[int], list[Any]], seed: int
) -> None:
    """Several laws, rows that join in the middle, split, end and leave, columns that run out."""
    truth = wanted(seed)
    with recorded(model) as [tape]:
        assert same(mixed(model, seed), truth)
    assert tape.made >= 5


def test_in_company_a_model_gives_what_it_gives_without(miniatures: Miniatures) -> None:
    """With windows and softcaps; scores and rewards beside."""
    plainly, prm = models(miniatures, "gemma2")
    truth = [work() for work in requests(plainly, prm)]
    language, prm = models(miniatures, "gemma2")
    with recorded(language) as [tape]:
        assert same(together(requests(language, prm), 0), truth)
    assert tape.made


@pytest.mark.parametrize("method", sorted(name for name, method in METHODS.items() if method.propose != "specdec"))
def test_every_method_that_drafts_has_the_records_that_it_has_without(pocket: dict[str, Any], method: str) -> None:
    """Stopped before each draft and resumed with cold caches; budgets cut."""
    truth = plain(whole_runs(pocket, method, "company"))
    with recorded(pocket["draft"], pocket["base"]) as tapes:
        assert same(plain(whole_runs(pocket, method, "resumed")), truth)
    assert any(tape.made for tape in tapes)


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_rounding_is_all_that_differs(dtype: str, within: float) -> None:
    """Nats of a candidate of 40 tokens, of those whose tokens are the same: all in float32, most in bfloat16."""
    found = load_model(f"pocket:draft?dtype={dtype}")
    assert isinstance(found, TransformersModel)
    law, prefix = SamplingLaw(temperature=0.7, max_step_tokens=40, ends=Ends(())), Prefix("What is 12 * (7 + 5)?")
    draw = partial(found.sample, prefix, 16, Key(0, "p", 0, "draft"), law)
    truth = draw()
    with recorded(found):
        pairs = list(zip(draw(), truth, strict=True))
    alike = [abs(a.log_prob - b.log_prob) for a, b in pairs if a.token_ids == b.token_ids]
    assert len(alike) >= (16 if dtype == "float32" else 12)
    assert max(alike) < within


def test_few_shapes_are_recorded_and_used_again(model: TransformersModel, monkeypatch: pytest.MonkeyPatch) -> None:
    request = partial(asked, model, 3, 16, ENDLESS)
    [truth] = decoded(model, [request()], [0])
    with recorded(model, by=(tape := TapeRecorder())):
        decoder = model.engine.runner.decoding()
        monkeypatch.setattr(model.engine.runner, "decoding", lambda batch=None: decoder)
        for times in range(5):
            [rows] = decoded(model, [request()], [0])
            assert same(rows, truth)
            if times == 2:
                made = tape.made
        assert tape.made == made <= 10
        assert isinstance(decoder, FixedBatch)
        assert len(decoder.recordings) == made
        decoder.release()
        assert not len(decoder.recordings)


def test_what_was_recorded_at_other_addresses_is_forgotten(
    model: TransformersModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four candidates until their shapes are recorded, then so many that the stores move, then four."""
    few, many = partial(asked, model, 3, 4, ENDLESS), partial(asked, model, 9, 40, ENDLESS)
    [truth] = decoded(model, [few()], [0])

    def found() -> bool:
        with recorded(model), pytest.MonkeyPatch.context() as patch:
            batch = model.engine.runner.decoding()
            patch.setattr(model.engine.runner, "decoding", lambda _=None: batch)
            rows = [decoded(model, [request()], [0])[0] for request in (few, few, few, many, few)]
        assert same(rows[2], truth)
        return same(rows[4], truth)

    assert found()
    monkeypatch.setattr(Recordings, "forget", lambda self: None)
    with pytest.raises((AssertionError, IndexError)):  # what old numbers tell of new memory
        assert found()


def test_no_more_than_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST", 2)
    recordings = Recordings(tape := TapeRecorder())
    numbers = torch.zeros(3)
    for shape in (0, 1, 0, 1, 0, 2, 2, 1, 0):  # 1 is dropped for 2, 0 for 1
        numbers[shape] += 1
        assert recordings.run(shape, partial(lambda i: numbers[i] * 10, shape)) == 10 * numbers[shape]
    assert (len(recordings), tape.made) == (2, 5)


def _mask(what: str, patch: pytest.MonkeyPatch) -> None:
    real = FixedBatch._hidden

    def hidden(self: FixedBatch, window: int | None) -> tuple[Tensor, Tensor]:
        seen, own = real(self, window)
        return (torch.zeros_like(seen), own) if what == "prefix" else (seen, torch.zeros_like(own))

    patch.setattr(FixedBatch, "_hidden", hidden)


def _the_spare_rows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        fixed, "_filled", lambda values, size: np.concatenate((np.repeat(values[:1], size - len(values)), values))
    )


def _a_number_that_python_knows(patch: pytest.MonkeyPatch) -> None:
    real = FixedBatch.open

    def opened(self: FixedBatch, length: int) -> Tensor:
        real(self, length)
        return (self._seats.offsets + self.end)[:, None]

    patch.setattr(FixedBatch, "open", opened)


@pytest.mark.parametrize(
    "plant",
    [
        partial(_mask, "prefix"),
        partial(_mask, "own"),
        _the_spare_rows,
        _a_number_that_python_knows,
    ],
    ids=["prefix padding seen", "column padding seen", "spare rows read", "number of Python"],
)
def test_a_planted_mistake_is_noticed(
    model: TransformersModel,
    wanted: Callable[[int], list[Any]],
    plant: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth = wanted(1)
    plant(monkeypatch)
    with recorded(model):
        assert not same(mixed(model, 1), truth)


def test_memory_is_counted_as_it_is_laid_out(model: TransformersModel) -> None:
    """Nine groups are sixteen, nine rows sixteen, 65 tokens 96: what just fits otherwise does not."""
    runner, extents = model.engine.runner, [Extent(65, 9, 65)] * 9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.budget, "bytes", runner.budget.need(extents, at_once=1))
        assert runner.decodable(extents)
        with recorded(model):
            assert not runner.decodable(extents)
            patch.setattr(runner.budget, "bytes", runner.budget.need([Extent(96, 16, 96)] * 16, at_once=1))
            assert runner.decodable(extents)


def test_a_batch_is_of_the_kind_that_is_wanted_now(model: TransformersModel) -> None:
    runner = model.engine.runner
    eager = runner.decoding()
    assert type(eager) is Batch
    assert runner.decoding(eager) is eager
    with recorded(model) as [tape]:
        fixed_one = runner.decoding(eager)
        assert isinstance(fixed_one, fixed.FixedBatch)
        assert runner.decoding(fixed_one) is fixed_one
        tape.given_up = "it cannot"
        assert type(runner.decoding(fixed_one)) is Batch
