"""reasoning-gym's own scorers. Import only in a worker: a scorer may take its time over a hostile answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from json import dumps, loads

from evals.data.layouts.generated import Generated, create


@lru_cache(maxsize=64)
def _dataset(name: str, config: str) -> Generated:
    return create(name, loads(config))


def right(meta: Mapping[str, object], predicted: str) -> bool:
    """Whether the generator's scorer gives `predicted` full marks on the entry that meta names."""
    index = meta["index"]
    assert isinstance(index, int)
    dataset = _dataset(meta["generator"], dumps(meta["config"], sort_keys=True))
    return bool(dataset.score_answer(predicted, dataset[index]) >= 1.0)
