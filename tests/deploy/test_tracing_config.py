"""Collector and Tempo: no binary of either is at hand, so what can be read is read, and held against our spans."""

from typing import Any

import yaml
from deploy_tools import ROOT

COLLECTOR: dict[str, Any] = yaml.safe_load((ROOT / "deploy/otel/collector.yaml").read_text())
TEMPO: dict[str, Any] = yaml.safe_load((ROOT / "deploy/tempo/tempo.yaml").read_text())
#: In the core distribution; anything else needs the contrib image.
CORE = {"otlp", "memory_limiter", "batch", "health_check"}


def test_every_pipeline_uses_what_is_defined_and_nothing_is_defined_in_vain() -> None:
    pipelines = COLLECTOR["service"]["pipelines"].values()
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[kind]}
        assert used == set(COLLECTOR[kind]), kind
    assert set(COLLECTOR["service"]["extensions"]) == set(COLLECTOR["extensions"])


def test_only_tail_sampling_needs_the_contrib_image() -> None:
    kinds = ("receivers", "processors", "exporters", "extensions")
    beyond = {name.partition("/")[0] for kind in kinds for name in COLLECTOR[kind]} - CORE
    assert beyond == {"tail_sampling"}


def test_memory_is_guarded_first_and_batches_are_made_last() -> None:
    assert COLLECTOR["service"]["pipelines"]["traces"]["processors"] == ["memory_limiter", "tail_sampling", "batch"]


def test_turns_above_the_objective_failures_and_one_in_twenty_are_kept() -> None:
    policies = {policy["type"]: policy for policy in COLLECTOR["processors"]["tail_sampling"]["policies"]}
    slow = policies["numeric_attribute"]["numeric_attribute"]
    # tests/router/test_call_counters.py and test_alerts_live.py hold the router to this attribute.
    assert (slow["key"], slow["min_value"]) == ("halfbeat.v2v_ms", 701)
    assert policies["status_code"]["status_code"] == {"status_codes": ["ERROR"]}
    assert policies["probabilistic"]["probabilistic"] == {"sampling_percentage": 5}


def test_the_decision_waits_for_the_end_of_the_longest_answer() -> None:
    from services.dialogue.config import DialogueSettings

    spoken_s = DialogueSettings().max_answer_tokens * 0.35  # three quarters of a word each, two words a second
    assert int(COLLECTOR["processors"]["tail_sampling"]["decision_wait"].removesuffix("s")) > spoken_s + 2 * 5


def test_the_ports_are_those_that_everything_else_expects() -> None:
    protocols = COLLECTOR["receivers"]["otlp"]["protocols"]
    assert protocols == {"grpc": {"endpoint": "0.0.0.0:4317"}, "http": {"endpoint": "0.0.0.0:4318"}}
    [reader] = COLLECTOR["service"]["telemetry"]["metrics"]["readers"]
    assert reader["pull"]["exporter"]["prometheus"]["port"] == 8888
    assert COLLECTOR["exporters"]["otlp"]["endpoint"] == "tempo:4317"
    assert TEMPO["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"
    assert TEMPO["server"]["http_listen_port"] == 3200
