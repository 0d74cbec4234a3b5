"""Training at a microscopic size: a resumed run equals an uninterrupted one, and the parts do what they say."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from gsi_node.pocket.training import evaluate, recipes
from gsi_node.pocket.training import tokenizer as tokenizers_
from gsi_node.pocket.training import train as training
from gsi_node.pocket.training.data import IGNORED, BatchStream, StreamPlace, collate, cut
from gsi_node.pocket.training.judged import UNJUDGED, JudgedResponse, judge, response_rows, rows
from gsi_node.pocket.training.loop import TrainingSchedule
from gsi_node.pocket.training.optim import orthogonal
from gsi_node.pocket.training.recipes import ModelSize, Samples
from gsi_node.pocket.training.reward import auroc, beginnings, initial, learned, responses, step_loss, train_reward
from gsi_node.pocket.training.sample import sample
from gsi_node.pocket.world.problems import problems

TINY = ModelSize(hidden=16, layers=1, heads=2, inner=32)
SHORT = TrainingSchedule(tokens=6000, muon=1e-2, adam=4e-3, batch=600, warm_up=1000)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    texts = [text for item in problems("train", 0, 300) for text in (item.problem, "\n\n".join(item.solution))]
    return tokenizers_.wrap(tokenizers_.train_tokenizer(texts, 400))


@pytest.fixture(autouse=True)
def small_tokenizer(monkeypatch: pytest.MonkeyPatch, tokenizer: PreTrainedTokenizerFast) -> None:
    monkeypatch.setattr(training, "build", lambda: tokenizer)


def causal(name: str, out: Path, *, resume: bool = False, stop: int | None = None) -> dict[str, torch.Tensor]:
    training.train_causal(name, TINY, SHORT, out, seed=3, resume=resume, stop=stop, pool=40, each=1)
    return load_file(out / name / "model.safetensors")


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = causal("base", tmp_path / "whole")
    causal("base", tmp_path / "parts", stop=2500)
    resumed = causal("base", tmp_path / "parts", resume=True)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_reward_model_trains_from_samples_resumes_and_is_measured(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("draft", "base"):
        causal(name, tmp_path)
    samples = Samples(draft=8, base=8, temperatures=(0.7, 1.0), solutions=4)
    schedule = replace(SHORT, tokens=2000)
    with ThreadPoolExecutor(2) as workers:
        model, _ = train_reward(tmp_path, samples, schedule, seed=0, resume=False, test=4, workers=workers)
    again, _ = train_reward(tmp_path, samples, schedule, seed=0, resume=True, test=4)
    assert model.config.num_labels == 2
    assert model.config.step_separator == "\n\n"
    weights = again.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    training.export(model, tokenizer, tmp_path / "reward")
    assert evaluate.main(["--models", str(tmp_path), "--size", "5", "--gym-size", "1"]) == 0
    text = capsys.readouterr().out
    assert "| all " in text
    assert "AUROC" in text
    assert "Brier" in text
    assert "| gcd " in text or "reasoning-gym is not installed" in text


def test_measuring_names_the_missing_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--models", str(tmp_path)]) == 2
    assert "train them" in capsys.readouterr().err


def test_wilson_intervals_hold_known_values() -> None:
    assert evaluate.wilson(0, 0) == (0, 1)
    assert evaluate.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert evaluate.wilson(0, 10)[0] == pytest.approx(0)


def test_the_command_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.main(["--model", "reward", "--out", str(tmp_path)]) == 2
    assert "no finished draft and base" in capsys.readouterr().err


def test_a_stream_restarts_anywhere(tokenizer: PreTrainedTokenizerFast) -> None:
    stream = BatchStream(tokenizer, 0, 500, pool=20)
    places, batches = [], []
    for _ in range(30):
        places.append(stream.place)
        batches.append(stream.next())
    assert places[-1].pool > 0
    for index in (7, 29):
        ids, labels = BatchStream(tokenizer, 0, 500, places[index], pool=20).next()
        assert torch.equal(ids, batches[index][0])
        assert torch.equal(labels, batches[index][1])


def test_batches_hold_every_row_once_and_little_padding() -> None:
    made = [([1] * length, [1] * length) for length in Random(0).choices(range(5, 90), k=200)]
    batches = cut(made, 400, Random(1))
    assert sorted(len(row[0]) for batch in batches for row in batch) == sorted(len(row[0]) for row in made)
    assert all(collate(batch, 0)[0].numel() <= 400 for batch in batches)


def test_the_schedule_rises_stays_and_falls_to_nothing() -> None:
    schedule = TrainingSchedule(tokens=1000, muon=1, adam=1, batch=10, warm_up=100, decay=0.2)
    assert [schedule.share(seen) for seen in (0, 90, 500, 800, 900, 1000)] == pytest.approx([0.1, 1, 1, 1, 0.5, 0])


def test_newton_schulz_orthogonalises() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((2, 12, 12), (2, 8, 20), (2, 20, 8)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=generator)))
        assert 0.5 < values.min() < values.max() < 1.3


def test_sampling_is_seeded_and_independent_of_the_batch(tokenizer: PreTrainedTokenizerFast) -> None:
    model = recipes.fresh(TINY, tokenizer, 0).eval()
    questions = [problem.problem for problem in problems("test", 0, 6)]

    def run(temperature: float, seed: int, batch: int = 100) -> list[str]:
        return sample(model, tokenizer, questions, temperature=temperature, seed=seed, batch=batch, most=12)

    assert run(0.7, 1) == run(0.7, 1) != run(0.7, 2)
    assert run(0, 1) == run(0, 2, batch=1)


def test_reward_rows_label_each_step_at_its_separator(tokenizer: PreTrainedTokenizerFast) -> None:
    problem = next(iter(problems("test", 0, 1, ["chain"])))
    steps = (*problem.solution[:1], "1 + 1 = 3.", "The answer is \\boxed{3}.")
    judged = judge(problem, "\n\n".join(steps) + "\n\n")
    assert (judged.question, judged.steps, judged.right) == (problem.problem, steps, 1)
    assert judged.labels == [1, 0, 0]
    ((ids, labels),) = rows(tokenizer, [judged])
    marked = [(tokenizer.decode([token]), label) for token, label in zip(ids, labels, strict=True) if label != IGNORED]
    assert marked == [("\n\n", 1), ("\n\n", 0), ("\n\n", 0)]
    assert labels[-1] == 0


def test_inside_a_step_labels_turn_where_the_text_leaves_the_path(tokenizer: PreTrainedTokenizerFast) -> None:
    judged = JudgedResponse("Compute 37 + 48.", ("37 + 48 = 95.", "No."), 0, len("37 + 48 = "))
    ((ids, labels),) = rows(tokenizer, [judged], inside=True)
    good = [token for token, label in zip(ids, labels, strict=True) if label == 1]
    wrong = [token for token, label in zip(ids, labels, strict=True) if label == 0]
    assert tokenizer.decode(good) == "37 + 48 = "
    assert tokenizer.decode(wrong) == "95.\n\nNo.\n\n"


def test_a_judged_response_knows_how_far_its_wrong_step_was_right() -> None:
    problem = next(iter(problems("test", 0, 1, ["percent"])))
    first = problem.solution[0]
    assert judge(problem, first[:-3] + "?").kept == len(first) - 3
    assert judge(problem, first[:-2]).kept == len(first) - 2
    assert judge(problem, "\n\n".join((*problem.solution, "More."))).kept == 0


def test_responses_may_go_on_from_right_steps(tmp_path: Path) -> None:
    drawn = list(problems("train", 9, 60))
    starts = beginnings(drawn, 9, 0.5)
    assert beginnings(drawn, 9, 0) == [""] * 60
    assert 15 <= sum(map(bool, starts)) <= 45
    for item, start in zip(drawn, starts, strict=True):
        assert "\n\n".join(item.solution).startswith(start)
        assert judge(item, start).labels == [1] * start.count("\n\n")
    causal("draft", tmp_path)
    found = responses(tmp_path / "draft", "train", 9, 60, 0.7, begun=0.5)
    assert [item for item, _ in found] == drawn
    assert all(text.startswith(start) for (_, text), start in zip(found, starts, strict=True))


def test_rows_are_the_same_from_the_file_and_solutions_are_not_judged(tmp_path: Path) -> None:
    for name in ("draft", "base"):
        causal(name, tmp_path)
    samples = Samples(draft=4, base=4, temperatures=(1.0,), solutions=3)
    made = learned(tmp_path, samples, 0, "cpu", None)
    assert learned(tmp_path, samples, 0, "cpu", None) == made
    assert [UNJUDGED in labels for _, labels in made] == [False] * 8 + [True] * 3
    item = next(iter(problems("train", 0, 1)))
    ((ids, judged), (same, unjudged)) = response_rows(
        tmp_path / "base", [(item, "\n\n".join(item.solution)), (item, None)]
    )
    assert ids == same
    assert unjudged == [UNJUDGED if label == 1 else label for label in judged]
    assert 0 not in judged


def test_the_reward_loss_is_its_three_means(tmp_path: Path) -> None:
    causal("base", tmp_path)
    model = initial(tmp_path / "base", 1)
    with torch.no_grad():
        model.score.weight.normal_(generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[5, 6, 7, 8, 6], [5, 9, 6, 10, 11]])
    labels = torch.tensor([[IGNORED, 1, 1, 0, 0], [IGNORED, UNJUDGED, UNJUDGED, UNJUDGED, IGNORED]])
    hidden = model.model(input_ids=ids).last_hidden_state
    judged = [-model.score(hidden[0, k]).log_softmax(-1)[int(labels[0, k])] for k in (1, 2, 3, 4)]
    words = (hidden @ model.get_input_embeddings().weight.T).log_softmax(-1)
    spoken = [-words[row, k, ids[row, k + 1]] for row, k in ((0, 0), (0, 1), (1, 0), (1, 1), (1, 2))]
    expected = sum(judged) / 4 + (judged[0] + judged[3]) / 2 + 0.3 * sum(spoken) / 5
    found = step_loss(model, ids, labels, 6, 0.3)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    assert step_loss(model, ids, torch.full_like(ids, IGNORED), 6, 0.3).item() == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_everything_trains_and_is_measured_on_a_gpu(tmp_path: Path) -> None:
    for name in ("draft", "base"):
        training.train_causal(name, TINY, SHORT, tmp_path, seed=3, resume=False, pool=40, each=1, device="cuda")
    samples = Samples(draft=8, base=8, temperatures=(0.7, 1.0), solutions=4)
    model, tokenizer = train_reward(tmp_path, samples, SHORT, seed=0, resume=False, test=4, device="cuda")
    training.export(model, tokenizer, tmp_path / "reward")
    assert evaluate.main(["--models", str(tmp_path), "--size", "5", "--gym-size", "1", "--device", "cuda"]) == 0


def test_auroc_counts_pairs() -> None:
    assert auroc([0.9, 0.8, 0.1], [1, 1, 0]) == 1
    assert auroc([0.5, 0.5], [1, 0]) == 0.5
    assert auroc([0.2, 0.6, 0.4], [1, 0, 1]) == 0
    assert math.isnan(auroc([0.2], [1]))


def test_places_compare_by_value() -> None:
    assert StreamPlace(1, 2) == StreamPlace(1, 2)
