"""What comes from outside: the problem, the turns before it, its id, partial reasoning; each refused by name where it
cannot be meant. And what a run keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gsi_node.errors import ConfigError, VocabularyMismatch, shown, whole_text
from gsi_node.identity import SAMPLING_LAW, check_sampling_law
from gsi_node.protocols import DecodingModel, StepModel, thinking_of
from gsi_node.step.config import GSIConfig
from gsi_node.step.endings import ended
from gsi_node.step.records import unmeasured_record
from gsi_node.types import Ends, Plain, Prefix, Step, Turn, default_id

ROLES = ("system", "user", "assistant")


def read_text(problem: object, where: str) -> str:
    """A problem. Raises ConfigError for what is no text, or an empty one."""
    if not isinstance(problem, str) or not problem.strip():
        raise ConfigError(f"{where}: want a non-empty string, got {shown(problem)}")
    return whole_text(problem, where)


def read_turn(role: object, content: object, where: str) -> Turn:
    """A turn of a conversation, which may be empty. Raises ConfigError."""
    if role not in ROLES or not isinstance(content, str):
        raise ConfigError(f"{where}: want a role ({', '.join(ROLES)}) and a text, got {shown((role, content))}")
    return Turn(str(role), whole_text(content, where))


def read_asked(problem: object, earlier: Sequence[Turn], config: GSIConfig) -> Prefix:
    """A problem after the turns before it, which `earlier_messages` carries, ignores or refuses. Raises ConfigError."""
    given: object = earlier
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigError(f"earlier: want a list of turns, each Turn(role, content), got {shown(given)}")
    if earlier and config.earlier_messages == "refuse":
        raise ConfigError(f"earlier: {len(earlier)} turns stand before the problem, and earlier_messages is 'refuse'")
    turns = earlier if config.earlier_messages == "carry" else ()
    carried = tuple(_given_turn(turn, f"earlier[{i}]") for i, turn in enumerate(turns))
    return Prefix(read_text(problem, "problem"), earlier=carried)


def _given_turn(turn: object, where: str) -> Turn:
    if not isinstance(turn, tuple | list) or len(turn) != 2:
        raise ConfigError(f"{where}: want Turn(role, content), got {shown(turn)}")
    role, content = turn
    return read_turn(role, content, where)


def pack_asked(asked: Prefix, problem_id: str) -> Plain:
    """What a run remembers of its input, JSON-plain, and the version of the sampling law that it is under; `earlier` is
    None where it is a problem alone."""
    turns = [list(turn) for turn in asked.earlier] or None
    return {"problem": asked.problem, "problem_id": problem_id, "earlier": turns, "sampling_law": SAMPLING_LAW}


def unpack_asked(run: Plain) -> Prefix:
    """The problem and the turns before it, of a run. Raises ResumeMismatch where that is under another law."""
    check_sampling_law(run.get("sampling_law", 1), "this run", "begin on a new thread_id")
    return Prefix(run["problem"], earlier=tuple(Turn(*turn) for turn in run["earlier"] or ()))


def read_problem_id(given: object, asked: Prefix) -> str:
    """What names the random streams: a text or an integer as given, else a blake2b of what is asked. ConfigError."""
    if given is None:
        return default_id(asked.problem, asked.earlier)
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise ConfigError(f"problem_id: want a text or an integer, got {shown(given)}")
    try:
        return whole_text(str(given), "problem_id")
    except ValueError as error:  # an integer of more digits than Python writes; a ConfigError is one too
        raise error if isinstance(error, ConfigError) else ConfigError(f"problem_id: {error}") from None


def read_initial_steps(given: object, models: Sequence[StepModel], ends: Ends) -> tuple[list[Plain], bool]:
    """The records of the input's initial steps, and whether the last of them ends the response.

    Each is read by read_step. Raises ConfigError, or VocabularyMismatch for ids without a token.
    """
    if given is None:
        return [], False
    if not isinstance(given, Sequence) or isinstance(given, str | bytes):
        raise ConfigError(f"initial_steps: want a list of dicts with 'text', got {shown(given)}")
    records, before, finished = [], Prefix(""), False
    for i, step in enumerate(given):
        where = f"initial_steps[{i}]"
        if finished:
            raise ConfigError(
                f"{where}: the step before it ends the response (EOS); leave out what follows, or its EOS"
            )
        one = read_step(step, before, models, ends, where)
        records.append(unmeasured_record(one, "initial"))
        before, finished = before.extended(one), one.finished
    return records, finished


def read_step(step: object, before: Prefix, models: Sequence[StepModel], ends: Ends, where: str) -> Step:
    """A step that is given, not sampled, after those of `before`.

    It has `text`, which is given the first of the ends where it has none; or `text` and `token_ids`, as in the records
    of an earlier run, and then the ids must say the text: by a model's `step_of`, or, of models that have none, by
    being what `encode` makes of it. Where the models' vocabularies differ, they are those of `vocabulary`, or of the
    first model. Raises ConfigError, or VocabularyMismatch for ids without a token.
    """
    if not isinstance(step, Mapping) or not isinstance(step.get("text"), str) or not step["text"].strip():
        raise ConfigError(f"{where}: want a dict with a non-empty 'text', got {shown(step)}")
    text, ids, finished = whole_text(step["text"], where), step.get("token_ids"), False
    vocabulary = models[0].vocabulary if len({model.vocabulary for model in models}) > 1 else ""
    if ids is None:
        text = ended(text, ends)
        ids = models[0].encode(text)
    else:
        vocabulary = step.get("vocabulary", vocabulary)
        models = [model for model in models if vocabulary in ("", model.vocabulary)]
        if not models:
            raise VocabularyMismatch(
                f"{where}: its token_ids are of the vocabulary {shown(vocabulary)}, which is none of the models' here; "
                "leave both out"
            )
        finished = _checked(text, ids, before, models, where)
    one = Step(text, tuple(ids), 0.0, finished, vocabulary=vocabulary)
    if isinstance(models[0], DecodingModel) and thinking_of(models[0]) is not None:
        one = replace(one, thought=models[0].step_of(before, one.token_ids, 0.0).thought)
    return one


def _checked(text: str, ids: object, before: Prefix, models: Sequence[StepModel], where: str) -> bool:
    """Whether the step of these ids, which must say the text, ends the response."""
    if not isinstance(ids, Sequence) or isinstance(ids, str | bytes) or not ids:
        raise ConfigError(f"{where}: want token_ids as a list of integers, got {shown(ids)}")
    wrong = [i for i in ids if isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < 2**31]
    if wrong:
        raise ConfigError(f"{where}: no token id is {shown(wrong[0])}")
    model = next((model for model in models if isinstance(model, DecodingModel)), None)
    if model is None:
        if tuple(models[0].encode(text)) != tuple(ids):
            raise ConfigError(
                f"{where}: the model has no step_of to read token ids with, and these are not the ones it encodes the "
                "text to; leave token_ids out"
            )
        return False
    inside = [i for i in ids[:-1] if i in model.eos_ids]
    if inside:
        raise ConfigError(f"{where}: token id {inside[0]} ends the response, but others come after it; leave them out")
    step = model.step_of(before, tuple(ids), 0.0)
    if step.text != text:
        raise ConfigError(
            f"{where}: its token_ids say {shown(step.text)}, its text is {shown(text)}; give both of one step, or the "
            "text alone"
        )
    return step.finished
