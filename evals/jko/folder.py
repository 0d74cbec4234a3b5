"""Which density the rows in a folder are of: its name does not say, since means and points are drawn from seeds."""

from __future__ import annotations

import json
from pathlib import Path

from evals.jko.truth import FileTruth
from gsi_node.errors import ConfigError
from gsi_node.host.files import read_object, write
from gsi_node.neural_jko.identity import Claim, claim_of
from gsi_node.neural_jko.targets import Target

ABOUT = "target.json"


def claim_folder(folder: Path, target: Target) -> None:
    """Write target.json, or compare with the one that is there. Raises ConfigError: of another density, other draws."""
    path, mine = folder / ABOUT, claim_of(target)
    truth = target.digest if isinstance(target, FileTruth) else ""
    there = read_object(path)
    if there is None:
        write(path, json.dumps({"truth": truth, **mine.plain()}, indent=1) + "\n")
        return
    if told := Claim.of(there).difference(mine):
        raise ConfigError(
            f"{path}: rows of another {target.name} ({told}), as of another --target-seed; name another --out"
        )
    if there.get("truth") != truth:
        raise ConfigError(f"{path}: rows against other draws than those of --truth; name another --out")
