"""A run's folder: what it is compared with, who may write in it, kills, full disks, and what is no run at all."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gsi_node.errors import ConfigError, InUse, ResumeMismatch, StorageError
from gsi_node.host import files
from gsi_node.neural_jko.run import Run
from gsi_node.neural_jko.saved import load
from gsi_node.neural_jko.stack import Stack
from gsi_node.neural_jko.targets import OwnTarget
from tests.neural_jko.small import QUICK, gaussian

ONE = QUICK.model_copy(
    update={"flows_first": 1, "blocks": 0, "steps": 2, "particles": 32, "weighing": 32, "calibration": 32, "width": 4}
)


def own(spread: float = 1.0, constant: float = 0.0) -> OwnTarget:
    return OwnTarget(lambda x: constant - x.square().sum(1) / spread, 2)


def drawn(stack: Stack) -> list[list[float]]:
    found: list[list[float]] = stack.sample(20, torch.Generator().manual_seed(0)).x.tolist()
    return found


@pytest.mark.parametrize(
    "other",
    [own(spread=2.0), own(spread=1.0 + 1e-6), own(constant=0.1), OwnTarget(lambda x: -x.abs().sum(1), 2)],
    ids=["another constant", "nearly the same", "another log Z", "another function"],
)
def test_another_density_of_the_same_name_is_refused(other: OwnTarget, tmp_path: Path) -> None:
    whole = Run(own(), ONE, tmp_path).complete()
    assert drawn(Run(own(), ONE, tmp_path).complete()) == drawn(whole)  # the same density, another function object
    with pytest.raises(ResumeMismatch, match="another density of the name own: log g at probe"):
        Run(other, ONE, tmp_path)
    with pytest.raises(ConfigError, match="another density"):
        load(tmp_path, other)
    assert drawn(load(tmp_path, own())) == drawn(whole)


def test_a_density_that_is_random_or_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log_density is not a function"):
        Run(OwnTarget(lambda x: -x.square().sum(1) + torch.rand(len(x)), 2), ONE, tmp_path)
    with pytest.raises(ConfigError, match=r"want \(64,\), one number a point"):
        Run(OwnTarget(lambda x: -x.square(), 2), ONE, tmp_path)
    with pytest.raises(ConfigError, match="latent_mean: want one number or 2, got 3"):
        Run(own(), ONE.model_copy(update={"latent_mean": (0.0, 0.0, 0.0)}), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_probes_see_no_mass_and_overflow_as_values_of_their_own(tmp_path: Path) -> None:
    def ring(edge: float) -> OwnTarget:
        return OwnTarget(lambda x: torch.where(x.norm(dim=1) < edge, -x.square().sum(1), -torch.inf), 2)

    Run(ring(4.0), ONE, tmp_path)
    assert "-inf" in (tmp_path / "config.json").read_text()
    Run(ring(4.0), ONE, tmp_path)
    with pytest.raises(ResumeMismatch, match="another density"):
        Run(ring(1.5), ONE, tmp_path)


def test_the_kind_of_device_is_part_of_a_run(tmp_path: Path) -> None:
    Run(own(), ONE, tmp_path)
    change(tmp_path, device="cuda")
    with pytest.raises(ResumeMismatch, match="device 'cuda' → 'cpu'"):
        Run(own(), ONE, tmp_path)
    with pytest.raises(ConfigError, match="device 'warp'"):
        Run(own(), ONE, tmp_path, device="warp")


def change(folder: Path, **values: Any) -> None:
    """Edit config.json; None takes a key out."""
    about = {**json.loads((folder / "config.json").read_text()), **values}
    left = {key: value for key, value in about.items() if key not in values or value is not None}
    (folder / "config.json").write_text(json.dumps(left))


def test_a_folder_of_an_earlier_release_goes_on_and_is_told_what_it_lacks(tmp_path: Path) -> None:
    Run(own(), ONE, tmp_path)
    new = json.loads((tmp_path / "config.json").read_text())
    change(tmp_path, slope=None, rejection_rate=None)  # as if it were a later setting
    Run(own(), ONE, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text()) == new
    change(tmp_path, rejection_rate=None)
    with pytest.raises(ResumeMismatch, match=r"rejection_rate 0\.2 → 0\.3"):
        Run(own(), ONE.model_copy(update={"rejection_rate": 0.3}), tmp_path)
    change(tmp_path, coordinates=None)
    with pytest.raises(ResumeMismatch, match=r"a run of version 0\.1, which trained by another method"):
        Run(own(), ONE, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"target": ' + "9" * 5000 + "}",
        '{"a": {"draft": 1}}',
        "\ufeff{}",
        '"x"',
        "{",
    ],
    ids=["list", "null", "empty", "deep", "5000 digits", "another program", "mark", "text", "cut"],
)
def test_what_is_no_config_is_refused_and_left_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=r"config\.json: "):
        Run(own(), ONE, tmp_path)
    assert path.read_text("utf-8") == content
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.json"):
        Run(own(), ONE, tmp_path)


@pytest.mark.parametrize("layers", [[{}], {}, None, [1], [{"kind": "flow"}], [{"kind": "rejection"}]])
def test_a_manifest_that_names_no_layers_is_refused(layers: Any, tmp_path: Path) -> None:
    Run(own(), ONE, tmp_path).complete()
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layers": layers}))
    with pytest.raises(ConfigError):
        load(tmp_path, own())
    with pytest.raises(ConfigError):
        Run(own(), ONE, tmp_path).complete()


def test_a_flow_lies_in_its_own_folder(tmp_path: Path) -> None:
    Run(own(), ONE, tmp_path / "run").complete()
    os.replace(tmp_path / "run" / "000-flow.safetensors", tmp_path / "elsewhere")
    path = tmp_path / "run" / "stack.json"
    path.write_text(path.read_text().replace("000-flow.safetensors", "../elsewhere"))
    with pytest.raises(ConfigError, match="not at '../elsewhere'"):
        load(tmp_path / "run", own())


def test_a_folder_of_another_program_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex and no config\.json"):
        Run(own(), ONE, tmp_path)
    with pytest.raises(ConfigError, match="Not a directory"):
        Run(own(), ONE, tmp_path / "thesis.tex")
    with pytest.raises(ConfigError, match="Not a directory"):
        Run(own(), ONE, tmp_path / "thesis.tex" / "run")


def test_one_process_at_a_time_and_the_dead_hold_nothing(tmp_path: Path) -> None:
    run = Run(gaussian(2), ONE, tmp_path)
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with run.held():
            os.write(told, b"!")
            signal.pause()
        os._exit(1)
    try:
        assert os.read(ready, 1) == b"!"
        second = Run(gaussian(2), ONE, tmp_path)  # to look is allowed
        assert second.finished() == []
        for work in (second.complete, lambda: second.grow(0)):
            with pytest.raises(InUse, match=f"process {child} is at work there"):
                work()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    second.complete()
    assert len(second.finished()) == 1


class Killed(BaseException):
    pass


def watched(name: str, real: Callable[..., Any], number: int, error: BaseException, calls: list[str]) -> Any:
    def call(*arguments: Any, **how: Any) -> Any:
        if not str(how.get("mode")).startswith("r"):  # reading is no write
            if len(calls) >= number:
                raise error
            calls.append(name)
        return real(*arguments, **how)

    return call


@contextmanager
def ending_at(number: int, error: BaseException) -> Iterator[list[str]]:
    """From call `number` on, every fsync, rename and opening of a file to write ends in the error; the calls so far."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for place, name in ((os, "fsync"), (os, "replace"), (Path, "open"), (os, "pwrite"), (os, "ftruncate")):
            patch.setattr(place, name, watched(name, getattr(place, name), number, error, calls))
        yield calls


def test_a_kill_at_any_write_leaves_a_folder_that_goes_on_to_the_same_model(tmp_path: Path) -> None:
    with ending_at(10_000, Killed()) as calls:
        whole = drawn(Run(own(), ONE, tmp_path / "whole").complete())
    # config.json, the frame, the flow, its losses, stack.json; each twice
    assert calls.count("replace") == 5 and calls.count("fsync") == 10
    for number in range(len(calls)):
        with ending_at(number, Killed()), pytest.raises(Killed):
            Run(own(), ONE, tmp_path / str(number)).complete()
        assert drawn(Run(own(), ONE, tmp_path / str(number)).complete()) == whole
        assert sorted(path.name for path in (tmp_path / str(number)).iterdir()) == [
            "000-flow.safetensors", "000-losses.json", "config.json", "frame.safetensors", "lock", "stack.json",
        ]  # fmt: skip


def test_a_full_disk_at_any_write_is_a_typed_error_and_the_run_goes_on(tmp_path: Path) -> None:
    whole = drawn(Run(own(), ONE, tmp_path / "whole").complete())
    for number in range(14):
        with ending_at(number, OSError(errno.ENOSPC, "No space left on device")), pytest.raises(StorageError) as told:
            Run(own(), ONE, tmp_path / str(number)).complete()
        assert "cannot be written: No space left on device" in str(told.value)
        assert drawn(Run(own(), ONE, tmp_path / str(number)).complete()) == whole


def test_a_limit_on_the_size_of_files_is_a_typed_error_and_the_run_goes_on(tmp_path: Path) -> None:
    wide = ONE.model_copy(update={"width": 64})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))  # enough for config.json
    try:
        with pytest.raises(StorageError, match=r"000-flow\.safetensors: cannot be written: File too large"):
            Run(own(), wide, tmp_path).complete()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    Run(own(), wide, tmp_path).complete()


def test_a_file_is_replaced_whole_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write(path, "before")
    with ending_at(1, Killed()), pytest.raises(Killed):
        files.write(path, "after")
    assert path.read_text() == "before"
    (tmp_path / "link").symlink_to(path)
    files.write(tmp_path / "link", "through")
    assert (tmp_path / "link").is_symlink()
    assert path.read_text() == "through"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write(tmp_path / "pipe", "told")
    assert (os.read(reader, 10), (tmp_path / "pipe").is_fifo()) == (b"told", True)
    os.close(reader)
    assert files.read_object(tmp_path / "none") is None


def test_too_much_memory_is_said(tmp_path: Path) -> None:
    def greedy(x: Tensor) -> Tensor:
        return -x.square().sum(1) if len(x) < 300 else torch.empty(1 << 60)

    config = ONE.model_copy(update={"particles": 400, "batch_size": 400})
    with pytest.raises(ConfigError, match="out of memory .* fewer particles"):
        Run(OwnTarget(greedy, 2), config, tmp_path).complete()
