"""The simulated fleet against what is known exactly: sums of one caller, one station, a pipeline by hand, the product
form of closed networks, the law of utilisation; and the planner against every fleet there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path

import pytest

from gsi_node.cli.__main__ import main
from gsi_node.errors import ConfigError
from gsi_node.host.files import write
from gsi_node.tools import scale
from gsi_node.tools.bench_sizes import SizeCell, SizesRecord
from gsi_node.tools.queueing import KINDS, Fleet, ServerKind, simulate
from gsi_node.tools.scale import company_of, servers_for
from gsi_node.tools.step_parts import CompanySeconds, StepSeconds

ONE: dict[ServerKind, int] = {"draft": 1, "base": 1, "reward": 1}
PARTS = {"draft": 1.0, "draft_after_base": 1.5, "score": 0.25, "reward": 0.5, "base": 4.0, "base_reward": 0.125}


def seconds(**parts: float) -> StepSeconds:
    nothing = dict.fromkeys(StepSeconds.model_fields, 0.0)
    return StepSeconds.model_validate(nothing | parts)


def fleet(
    parts: StepSeconds,
    callers: int = 1,
    *,
    gamma: float = 1.0,
    servers: tuple[int, int, int] = (1, 1, 1),
    **more: float,
) -> Fleet:
    return Fleet(
        seconds=parts,
        company=dict.fromkeys(("draft", "score", "reward", "base"), gamma),
        acceptance=more.get("acceptance", 1.0),
        callers=callers,
        servers=dict(zip(KINDS, servers, strict=True)),
        devices=int(more["devices"]) if "devices" in more else None,
        variation=more.get("variation", 0.0),
    )


def test_one_caller_waits_for_nobody() -> None:
    """Draft, the slower of score and reward; refused ones also the base's step and its reward."""
    accepted, refused = fleet(seconds(**PARTS)), fleet(seconds(**PARTS), acceptance=0.0)
    assert simulate(accepted, 100).steps == pytest.approx(1 / (1.0 + 0.5))
    assert simulate(refused, 100).steps == pytest.approx(1 / (1.5 + 0.5 + 4.0 + 0.125))
    mixed = simulate(fleet(seconds(**PARTS), acceptance=0.75), 10000)
    step = 0.75 * 1.0 + 0.25 * 1.5 + 0.5 + 0.25 * 4.125
    assert mixed.steps == pytest.approx(1 / step, rel=0.03)


@pytest.mark.parametrize(
    ("callers", "gamma", "servers", "rate"),
    [(1, 1.0, 1, 1.0), (5, 1.0, 1, 1.0), (5, 0.0, 1, 5.0), (3, 0.5, 1, 1.5), (6, 1.0, 2, 2.0), (6, 0.25, 3, 4.8)],
)
def test_one_station(callers: int, gamma: float, servers: int, rate: float) -> None:
    """j calls in a server take 1 + γ(j − 1) seconds together; more servers share the callers."""
    found = simulate(fleet(seconds(draft=1.0), callers, gamma=gamma, servers=(servers, 1, 1)), 3000)
    assert found.steps == pytest.approx(rate, rel=0.01) and found.busy["draft"] == pytest.approx(1.0)
    assert found.calls["draft"] == pytest.approx(callers / servers) and found.bottleneck == "draft"


def test_a_pipeline_by_hand() -> None:
    """Two callers that begin together stay together: two seconds at each of two stations, where each would take one."""
    both = seconds(draft=1.0, score=1.0)
    assert simulate(fleet(both, 2), 1000).steps == pytest.approx(2 / 4, rel=0.01)
    assert simulate(fleet(both, 2, servers=(2, 2, 1)), 1000).steps == pytest.approx(2 / 2, rel=0.01)


def test_servers_that_share_a_device_work_in_turns() -> None:
    """Score and reward at once on one device: as long as one after the other."""
    parts = seconds(draft=1.0, score=0.5, reward=0.25)
    assert simulate(fleet(parts, devices=1.0), 100).steps == pytest.approx(1 / 1.75)
    assert simulate(fleet(parts, devices=2.0), 100).steps == simulate(fleet(parts), 100).steps == pytest.approx(1 / 1.5)


def product_form(callers: int, stations: list[float], gamma: float) -> float:
    """G(C − 1) / G(C),  G(C) = Σ over Σ j_i = C of Π_i Π_{k ≤ j_i} s_i (1 + γ(k − 1)) / k  (Baskett et al. 1975)."""

    def normaliser(count: int) -> float:
        places = product(range(count + 1), repeat=len(stations))
        return sum(
            prod(s * (1 + gamma * (k - 1)) / k for s, j in zip(stations, js, strict=True) for k in range(1, j + 1))
            for js in places
            if sum(js) == count
        )

    return normaliser(callers - 1) / normaliser(callers)


@pytest.mark.parametrize(("callers", "gamma"), [(2, 1.0), (4, 1.0), (4, 0.25)])
def test_the_product_form_of_a_closed_network(callers: int, gamma: float) -> None:
    """Exponential seconds. The standard deviation of the throughput over seeds is 1.2 % at most here: three of them."""
    wanted = product_form(callers, [1.0, 0.6], gamma)
    found = simulate(fleet(seconds(draft=1.0, score=0.6), callers, gamma=gamma, variation=1.0), 6000)
    assert found.steps == pytest.approx(wanted, rel=0.036)
    assert abs(product_form(callers, [1.0, 0.6], gamma + 0.25) / wanted - 1) > 0.05  # the test would see another γ


def test_the_law_of_utilisation() -> None:
    """Where company gains nothing a server works  throughput × seconds a step  of the time."""
    found = simulate(fleet(seconds(**PARTS), 6, acceptance=0.75, variation=0.3), 5000)
    assert found.busy["base"] == pytest.approx(found.steps * (0.25 + 0.25 * 4.0), rel=0.05)
    assert found.busy["reward"] == pytest.approx(found.steps * (0.5 + 0.25 * 0.125), rel=0.05)
    assert found.steps <= 1.05 / (0.25 + 0.25 * 4.0)


def test_the_bottleneck_moves_with_acceptance_and_servers() -> None:
    parts = seconds(**PARTS)
    assert simulate(fleet(parts, 8, acceptance=0.95), 2000).bottleneck == "draft"
    assert simulate(fleet(parts, 8, acceptance=0.5), 2000).bottleneck == "base"
    assert simulate(fleet(parts, 8, acceptance=0.5, servers=(1, 4, 1)), 2000).bottleneck == "draft"


def test_as_few_servers_as_any_fleet_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every fleet of up to two of each is tried; 600 steps tell them apart as 2000 do."""
    monkeypatch.setattr(scale, "STEPS", 600)
    usual = fleet(seconds(**PARTS), 4, acceptance=0.75, gamma=0.5, variation=0.3)
    fleets = [dict(zip(KINDS, servers, strict=True)) for servers in product((1, 2), repeat=3)]
    rates = {sum(servers.values()): 0.0 for servers in fleets}
    for servers in fleets:
        made = simulate(replace(usual, servers=servers), scale.STEPS).steps
        rates[sum(servers.values())] = max(rates[sum(servers.values())], made)
    for count in (4, 5, 6):  # what no fleet of fewer servers makes, and the best of so many does
        assert rates[count] > rates[count - 1]
        assert sum(servers_for(usual, rates[count]).values()) == count
    with pytest.raises(ConfigError, match="4 callers decide .* with a server for every call.*raise --callers$"):
        servers_for(usual, 20.0)


def cell(**company: float) -> SizeCell:
    together = CompanySeconds.model_validate({"callers": 3, **company}) if company else None
    return SizeCell(
        n=4,
        prefix=256,
        read=250,
        tokens=10,
        distinct=4,
        seconds=seconds(**PARTS),
        rates=[],
        acceptance=[1.0],
        company=together,
    )


def test_what_company_costs() -> None:
    """Three at once in three times the seconds of one: γ = 1; in the same: 0; in less, which is noise: 0."""
    found = company_of(cell(draft=3.0, score=0.25, reward=0.4, base=8.0))
    assert found == {"draft": 1.0, "score": 0.0, "reward": 0.0, "base": 0.5}
    assert company_of(cell()) == dict.fromkeys(found, 1.0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sizes.json"
    write(file, SizesRecord(models={}, repeats=1, cells=[cell()]).model_dump_json())
    assert main(["scale", str(file), "--callers", "1", "--servers", "1,1,1", "--servers", "2,1,1"]) == 0
    lines = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if "256" in line]
    cells = [[each.strip() for each in line] for line in lines]
    assert [line[3] for line in cells] == ["1,1,1", "2,1,1"]
    assert all(float(line[4]) == pytest.approx(10 / 1.5, rel=0.01) for line in cells)
    assert main(["scale", str(file), "--callers", "4", "--want", "12"]) == 0
    assert "2,1,2" in capsys.readouterr().out  # 2 s of drafting, 1 s of rewards, of four together
    for given, told in (
        (["--want", "9", "--servers", "1,1,1"], "leave --servers out"),
        (["--callers", "1", "--want", "9"], "raise --callers"),
        (["--callers", "2", "--devices", "1", "--want", "9"], "raise --callers, or --devices"),
    ):
        with pytest.raises(ConfigError, match=told):
            main(["scale", str(file), *given])
    for wrong in (["--servers", "1,1"], ["--acceptance", "2"], ["--variation", "0"], ["--want", "nan"]):
        with pytest.raises(SystemExit, match="2"):
            main(["scale", str(file), *wrong])
    write(file, SizesRecord(models={}, repeats=1).model_dump_json())
    with pytest.raises(ConfigError, match="no size is finished in it"):
        main(["scale", str(file)])
