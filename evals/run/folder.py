"""A run's folder: a run goes on in it, and may add to it, where nothing differs that determines the rows in it; else it
is refused.
"""

from __future__ import annotations

from pathlib import Path

from evals.rows.lines import PACKED_RESULTS, RESULTS, results_in
from evals.run.config import CONFIG, RunConfig, read_config
from evals.run.design import DESIGN
from evals.run.growth import found_again, joined
from evals.run.plan import Plan
from evals.run.provenance import here_and_now
from gsi_node.errors import ConfigError, ResumeMismatch, StorageError
from gsi_node.host.files import PART, locked, sync_folder, write
from gsi_node.identity import check_sampling_law


def check_folder(folder: Path, plan: Plan, *, repair: bool = False) -> None:
    """Refuse a folder of something else, or of another run, before any model is loaded. Raises ConfigError.

    repair: take away a config.json that cannot be read where no row stands beside it.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder}: is a file; name a folder")
    if not folder.exists():
        return
    if not (folder / CONFIG).exists():
        ours = CONFIG + PART, DESIGN, DESIGN + PART
        others = sorted(
            path.name for path in folder.iterdir() if path.name not in ours and (path.is_dir() or path.stat().st_size)
        )
        if others:
            raise ConfigError(
                f"--out {folder}: holds {', '.join(others[:4])}{' …' if len(others) > 4 else ''} but no {CONFIG}, so "
                "it is no run folder; name a new or an empty one"
            )
        return
    if (folder / PACKED_RESULTS).exists():
        raise ConfigError(f"--out {folder}: its rows are packed, and nothing is added to them; name another folder")
    try:
        kept = read_config(folder)
    except ConfigError as error:
        empty = not any(path.stat().st_size for path in results_in(folder))
        if repair and empty:
            (folder / CONFIG).unlink(missing_ok=True)
            return
        mend = "no row stands beside it: --repair makes it again" if empty else "name another --out"
        raise ConfigError(f"{error}; {mend}") from error
    grown(folder, kept, plan, plan.identity())


def grown(folder: Path, kept: RunConfig, plan: Plan, here: RunConfig) -> RunConfig:
    """The configuration of the folder once it holds the plan's rows, too. Raises ResumeMismatch naming the settings, or
    the version of the sampling law."""
    check_sampling_law(kept.sampling_law, str(folder), "name another --out; `evals report` reads this one")
    try:
        return joined(
            kept, here, lambda: found_again(folder, kept, plan.data_dir, plan.problems), lambda: plan.problems
        )
    except ResumeMismatch as error:
        raise ResumeMismatch(
            f"{folder} was begun with another configuration ({error}): give the same again, or name another --out"
        ) from error


def keep(folder: Path, plan: Plan, fingerprints: dict[str, str]) -> None:
    """Write config.json, whole and synchronised, where it does not say yet what this plan's rows are, or that they are
    made by this version on this machine.

    Raises ConfigError where another configuration is there, StorageError where the disk does not take it.
    """
    make(folder)
    here, file = plan.identity(fingerprints), folder / CONFIG
    with locked(folder):
        kept = read_config(folder) if file.exists() else None
        now = (here if kept is None else grown(folder, kept, plan, here)).also_made([here_and_now()])
        if now == kept:
            return
        try:
            write(file, now.to_json())
        except StorageError as error:
            file.with_name(CONFIG + PART).unlink(missing_ok=True)
            raise StorageError(f"--out {error}; make room, and give the same command again") from error


def make(folder: Path) -> None:
    """The folder and those above it, so that they outlive a loss of power. Raises ConfigError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in missing:
            sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror}); choose another folder") from error


def results_file(folder: Path, shard: tuple[int, int] | None) -> Path:
    """Where a process writes: shards have files of their own, since appending over a network is not atomic."""
    return folder / (RESULTS if shard is None else f"results.shard-{shard[0]}-of-{shard[1]}.jsonl")
