"""verdicts.jsonl of a run folder: what rewards said of its responses, a line a (reward, response), with checksums."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.rows.lines import lines_of
from evals.rows.row import RowKey
from evals.rows.sealed import SCHEMA, sealed, unsealed
from evals.rows.shapes import STRICT, Count, Number, Whole, first_fault
from gsi_node.errors import ConfigError

VERDICTS = "verdicts.jsonl"
VerdictKey = tuple[str, RowKey]


class VerdictLine(BaseModel):
    """What one reward said of one response, and what that cost.

    reward: its fingerprint; spec: how it was named, where that is known. value: None where a verifier that writes came
    to no verdict. cpu_seconds: of this process, a share of what was asked together. written_tokens, chains,
    without_verdict: of a verifier that writes.
    """

    model_config = STRICT | ConfigDict(frozen=True)

    reward: str
    problem_id: str
    method: str
    n: Count
    seed: Whole
    value: Number | None
    cpu_seconds: Number
    written_tokens: Count
    chains: Count
    without_verdict: Count
    spec: str | None = None

    @property
    def key(self) -> VerdictKey:
        """What names a line."""
        return self.reward, (self.problem_id, self.method, self.n, self.seed)

    def to_line(self) -> bytes:
        """One line of ASCII JSON."""
        about = self.model_dump_json(ensure_ascii=True).encode()
        return sealed(b'{"schema": %d, ' % SCHEMA + about[1:])


def read_verdicts(folder: Path) -> dict[VerdictKey, VerdictLine]:
    """Those of a folder; none where there are none yet. Raises ConfigError naming file and line."""
    file = folder / VERDICTS
    return {one.key: one for one in _lines(file)} if file.exists() else {}


def _lines(file: Path) -> Iterator[VerdictLine]:
    for number, line in lines_of(file):
        if not line.endswith(b"\n"):
            continue  # what a kill cut off is asked again
        place = f"{file}, line {number}"
        found, _ = unsealed(line, place, names=False)
        del found["schema"]
        try:
            yield VerdictLine.model_validate(found)
        except ValidationError as error:
            raise ConfigError(f"{place}: not a verdict: {first_fault(error)}; take the file away") from error
