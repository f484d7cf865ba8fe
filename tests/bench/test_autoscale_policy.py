"""The recommended policy refuses nobody, and the page and the chart say the same numbers as the simulation."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.autoscale import __main__ as command
from bench.autoscale.arrivals import Curve, normal_day, step, storm_night
from bench.autoscale.hpa import Policy as Step
from bench.autoscale.hpa import Rules
from bench.autoscale.night import simulate
from bench.autoscale.policies import RECOMMENDED, SERVICES, USUAL_PER_S
from bench.autoscale.report import policy_rows, price_rows, written
from bench.autoscale.search import fewest

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "deploy" / "k8s" / "helm" / "halfbeat" / "values.yaml"
VALUES_GPU = VALUES.with_name("values-gpu.yaml")
STORM = storm_night(USUAL_PER_S)
#: The storm's first half hour, in which all is decided.
FIRST = Curve(STORM.name, 3300, STORM.calls_per_s)


@pytest.mark.parametrize("curve", [FIRST, step(USUAL_PER_S)], ids=lambda curve: curve.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_the_recommended_policy_refuses_nobody(curve: Curve, seed: int) -> None:
    outcome = simulate(curve, SERVICES, RECOMMENDED, seed=seed)
    assert (outcome.refused.total(), outcome.cut, outcome.lacking_s.total()) == (0, 0, 0)


def test_a_normal_day_refuses_nobody_either() -> None:
    day = normal_day(USUAL_PER_S)
    morning = Curve("morning", 13 * 3600, day.calls_per_s)
    assert simulate(morning, SERVICES, RECOMMENDED, seed=1).is_smooth


def test_the_search_finds_no_more_slots_than_are_recommended() -> None:
    """Of one storm only; how many it takes depends on its luck with the phases of scrape and loop."""
    found = fewest("router", SERVICES["router"], RECOMMENDED["router"], FIRST, (0,))
    assert found is not None
    assert 60 < found.warm_slots <= RECOMMENDED["router"].warm_slots


def test_the_pages_have_these_numbers() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    assert "\n".join(policy_rows(SERVICES, RECOMMENDED)) in page, "python -m bench.autoscale --docs"
    prices = (ROOT / "docs" / "sizing.md").read_text()
    assert "\n".join(price_rows(SERVICES, RECOMMENDED)) in prices, "python -m bench.autoscale --docs"


def test_a_table_takes_the_place_of_the_one_between_its_marks() -> None:
    page = "a\n<!-- autoscale: x -->\nold\n<!-- end -->\nb\n<!-- autoscale: y -->\n<!-- end -->\n"
    once = written(page, {"x": ["new"], "y": ["1", "2"]})
    assert once == "a\n<!-- autoscale: x -->\nnew\n<!-- end -->\nb\n<!-- autoscale: y -->\n1\n2\n<!-- end -->\n"
    assert written(once, {"x": ["new"], "y": ["1", "2"]}) == once
    with pytest.raises(ValueError, match="no mark"):
        written(page, {"z": []})


def shipped() -> dict[str, Any]:
    """The chart's values, with those of a cluster with GPUs for the language model."""
    yaml = pytest.importorskip("yaml")
    values: dict[str, Any] = yaml.safe_load(VALUES.read_text())
    gpu = yaml.safe_load(VALUES_GPU.read_text())
    values["llm"] = {**values["llm"], **gpu["llm"]}
    return values


@pytest.mark.skipif(not VALUES.is_file(), reason="no Helm chart in this checkout")
@pytest.mark.parametrize("name", RECOMMENDED)
def test_the_chart_ships_these_numbers(name: str) -> None:
    values = shipped()
    scaling, own, policy = values["autoscaling"], values[name]["autoscaling"], RECOMMENDED[name]
    told = {
        "min": own.get("min") or scaling["min"],
        "max": own.get("max") or scaling["max"],
        "slots": values["llm"]["callsPerPod"] if name == "llm" else values[name]["settings"]["SLOTS"],
        "fill": 1.0 if name == "llm" else scaling["fill"],
        "warm": scaling["warmSlots"],
        "lead": scaling["leadSeconds"],
        "trend": scaling["trendSeconds"],
        "trouble": scaling["troublePercent"] / 100,
    }
    assert told == {
        "min": policy.min_replicas,
        "max": policy.max_replicas,
        "slots": SERVICES[name].slots,
        "fill": policy.fill,
        "warm": policy.warm_slots,
        "lead": policy.lead_s,
        "trend": policy.trend_window_s,
        "trouble": policy.trouble,
    }


@pytest.mark.skipif(not VALUES.is_file(), reason="no Helm chart in this checkout")
def test_the_chart_ships_this_behavior_drain_and_number_of_attempts() -> None:
    values = shipped()
    up, down = values["autoscaling"]["scaleUp"], values["autoscaling"]["scaleDown"]
    drain_s = values["drainSeconds"] or values["maxCallSeconds"] + 10
    for policy in RECOMMENDED.values():
        assert policy.up == Rules(
            up["windowSeconds"],
            (Step("Percent", up["percent"], up["periodSeconds"]), Step("Pods", up["pods"], up["periodSeconds"])),
        )
        assert policy.down == Rules(down["windowSeconds"], (Step("Percent", down["percent"], down["periodSeconds"]),))
        assert (policy.attempts, policy.drain_s) == (values["router"]["settings"]["OPEN_ATTEMPTS"], drain_s)


def test_the_command_writes_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.ways, "WAYS", tuple(w for w in command.ways.WAYS if w.name in command.ways.DRAWN))
    monkeypatch.setattr(command.ways, "SHORT", ())
    out = tmp_path / "autoscale.json"
    assert command.main(["--seeds", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    told = report["curves"]["storm night"]
    assert told["recommended"]["refused_dials"] == [0, 0, 0]
    assert told[command.ways.PLAIN]["refused_dials"][0] > 1000
    assert out.with_suffix(".png").stat().st_size > 10_000
