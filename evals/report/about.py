"""What a run is about, as a table to stand above its numbers: models, problems, settings, and what made the rows."""

from __future__ import annotations

from evals.report.text_table import TextTable
from evals.run.config import RunConfig
from gsi_node.step.config import GSIConfig

ALWAYS = ("beta", "threshold", "temperature")


def about(config: RunConfig) -> TextTable:
    """A line a thing; of the settings those that always matter, and those that are not the defaults."""
    usual = GSIConfig().model_dump()
    settings = {name: value for name, value in config.config.items() if name in ALWAYS or value != usual.get(name)}
    seeds = ", ".join(map(str, config.seeds))
    limit = "" if config.limit is None else f" (--limit {config.limit})"
    rows = [
        *((role, spec) for role, spec in config.specs.items()),
        ("problems", f"{config.problems}{limit} of {config.data}, {config.split}, data seed {config.data_seed}"),
        ("methods", f"{', '.join(config.methods)}; n = {', '.join(map(str, config.n))}; seeds {seeds}"),
        ("settings", ", ".join(f"{name} {value}" for name, value in settings.items())),
        *(
            ("made by", f"gsi_node {one.version}, commit {one.commit or 'unknown'}, {one.date}, on {one.machine}")
            for one in config.made
        ),
    ]
    return TextTable("Run", ("what", "which"), rows)
