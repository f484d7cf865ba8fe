"""Engines: are the models fast enough, and how much of their work is for nothing?"""

from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.board import AMBER, RED, Board, Panel, Query, curves, lines
from deploy.grafana.promql import mean, of, per_minute, quantile, rate, share, total

HOPS = "halfbeat_hop_seconds"
TOKENS = "halfbeat_tokens_total"
DECODE = "halfbeat_asr_decode_seconds"
FACTOR = "halfbeat_tts_realtime_factor"
FIRST_TOKEN, FIRST_AUDIO, FLUSH = "llm.first_token", "tts.first_audio", "asr.flush"


def board() -> Dashboard:
    """Returns the dashboard."""
    result = Board(
        "halfbeat-engines",
        "Engines",
        "For whoever chooses models and machines: how fast recognition, language model and voice work, and what"
        " speculation gains and wastes. vLLM's and llama.cpp's rows are their own metrics; one of them is empty.",
        instances="halfbeat_capacity_sessions|vllm:num_requests_running|llamacpp:requests_processing",
    )
    result.row("Language model, as dialogue sees it", *_language())
    result.row("Speculation: answers made before the turn is over", *_speculation())
    result.row("Recognition", *_recognition())
    result.row("Voice", *_voice())
    result.row("vLLM", *_vllm())
    result.row("llama.cpp", *_llama())
    return result.build()


def _language() -> list[Panel]:
    read = f"{rate(TOKENS, kind='prompt')} + {rate(TOKENS, kind='cached')}"
    return [
        curves(
            "Time to the first token", "From the request to the first word of an answer, queue and network included."
            " With a GPU some 100 ms; most of what is above is the queue or a cold prefix.",
            Query(quantile(0.5, HOPS, hop=FIRST_TOKEN), "median", has_exemplars=True),
            Query(quantile(0.95, HOPS, hop=FIRST_TOKEN), "p95"), unit="s", levels=lines((0.3, AMBER), (0.6, RED)),
            runbook="LlmSlow",
        ),
        curves(
            "Tokens a second", "prompt: read for an answer; cached: known already; prefill: read ahead while the"
            " caller spoke; completion: spoken; wasted: written for drafts that came to nothing.",
            Query(rate(TOKENS, "kind"), "{{kind}}"), unit="short", stacking=StackingMode.NORMAL,
        ),
        curves(
            "Share of prompts that was known already", "Tokens from the prefix cache. Near 1, as conversations only"
            " grow; when it falls, calls lose their cache to each other.",
            Query(share(rate(TOKENS, kind="cached"), read), "from the cache"), unit="percentunit",
        ),
        curves(
            "Prompts read ahead a minute", "done: while the caller spoke; cancelled: an answer was wanted first;"
            " failed: the model server did not answer.",
            Query(per_minute("halfbeat_dialogue_prefills_total", "outcome"), "{{outcome}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
        curves(
            "Answers that were not spoken a minute, by why", "empty: the model said nothing; invented: a fact nobody"
            " gave it; claim: a deed it has not done. The model is asked once more, then a fixed answer is said.",
            Query(per_minute("halfbeat_dialogue_withheld_total", "why"), "{{why}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
        curves(
            "Tool calls a minute, by how they ended", "ok, or why a tool gave no result.",
            Query(per_minute("halfbeat_tool_calls_total", "tool, outcome"), "{{tool}} {{outcome}}"),
            unit="short", stacking=StackingMode.NORMAL,
        ),
    ]  # fmt: skip


def _speculation() -> list[Panel]:
    drafts = "halfbeat_drafts_total"
    written = f"{rate(TOKENS, kind='completion')} + {rate(TOKENS, kind='wasted')}"
    return [
        curves(
            "Drafts a minute, by what became of them", "hit: it was the answer and sounded in the same frame. resumed:"
            " the caller went on. differs: other words were committed. voided: what it was made from had changed.",
            Query(per_minute(drafts, "outcome"), "{{outcome}}"), unit="short", stacking=StackingMode.NORMAL,
        ),
        curves(
            "Share of drafts that were adopted", "Below one half, more is wasted than gained: raise"
            " HALFBEAT_ROUTER_DRAFT_PROBABILITY.", Query(share(rate(drafts, outcome="hit"), rate(drafts)), "adopted"),
            unit="percentunit", levels=[(None, AMBER), (0.5, "transparent")],
        ),
        curves(
            "Share of the tokens written for nothing", "What speculation costs the model: tokens of drafts that came to"
            " nothing, of all that it wrote.", Query(share(rate(TOKENS, kind="wasted"), written), "wasted"),
            unit="percentunit", levels=lines((0.5, AMBER)),
        ),
        curves(
            "Drafts as dialogue ended them, a minute", "adopted and changed became answers; the others were dropped:"
            " replaced by a newer one, passed by another turn, failed, refused.",
            Query(per_minute("halfbeat_dialogue_drafts_total", "outcome"), "{{outcome}}"), unit="short",
            stacking=StackingMode.NORMAL, span=24, height=6,
        ),
    ]  # fmt: skip


def _recognition() -> list[Panel]:
    flushes = "halfbeat_asr_flushes_total"
    return [
        curves(
            "Time of a decode, by what it was for", "Median and p95 of the engine's own time. flush and commit are"
            " waited for; partial and pause are not.",
            Query(quantile(0.5, DECODE, "kind"), "{{kind}} median"), Query(quantile(0.95, DECODE, "kind"),
            "{{kind}} p95"), unit="s", levels=lines((0.2, AMBER)),
        ),
        curves(
            "From the pause to the last words", "What the router waits for after a pause: median and p95.",
            Query(quantile(0.5, HOPS, hop=FLUSH), "median"), Query(quantile(0.95, HOPS, hop=FLUSH), "p95"), unit="s",
            levels=lines((0.1, AMBER)),
        ),
        curves(
            "Share of pauses whose words were ready", "A decode had covered the last word before it was asked for.",
            Query(share(rate(flushes, answer="ready"), rate(flushes)), "ready"), unit="percentunit",
        ),
        curves(
            "Share of a core spent on decoding", "Engine time a second, by process: at the number of its workers"
            " (HALFBEAT_ASR_WORKERS) it is full and flushes wait.",
            Query(rate(f"{DECODE}_sum", "instance"), "{{instance}}"), unit="short",
        ),
        curves(
            "Sounds without words a minute, by why", "Pieces of audio that the recogniser was kept from making words"
            " of: quiet, noise, or words it was not sure of.",
            Query(per_minute("halfbeat_asr_rejected_total", "reason"), "{{reason}}"), unit="short",
            stacking=StackingMode.NORMAL,
        ),
        curves(
            "Audio that never came, seconds a minute", "Gaps in callers' audio, taken for silence: words may be"
            " missing.", Query(per_minute("halfbeat_asr_lost_audio_seconds_total", "instance"), "{{instance}}"),
            unit="s", levels=lines((0.5, AMBER)),
        ),
    ]  # fmt: skip


def _voice() -> list[Panel]:
    cache = "halfbeat_tts_cache_total"
    return [
        curves(
            "Time to a clause's first audio", "From the moment a clause was due to its first sound: median and p95."
            " Cached clauses take no time.",
            Query(quantile(0.5, HOPS, hop=FIRST_AUDIO), "median", has_exemplars=True),
            Query(quantile(0.95, HOPS, hop=FIRST_AUDIO), "p95"), unit="s", levels=lines((0.15, AMBER), (0.3, RED)),
        ),
        curves(
            "Real-time factor", "Engine time for a second of audio, per clause. From 1 on, speech has gaps.",
            Query(quantile(0.5, FACTOR, "engine"), "{{engine}} median"),
            Query(quantile(0.95, FACTOR, "engine"), "{{engine}} p95"), unit="none",
            levels=lines((0.7, AMBER), (1.0, RED)),
        ),
        curves(
            "Share of clauses found in the cache", "Openers and other short clauses that were said before.",
            Query(share(rate(cache, found="hit"), rate(cache)), "found"), unit="percentunit",
        ),
        curves(
            "Clauses a minute, by whether they were in the cache", "How much is spoken, and what of it costs no work.",
            Query(per_minute(cache, "found"), "{{found}}"), unit="short", stacking=StackingMode.NORMAL, span=12,
        ),
        curves(
            "Audio held in the cache", "By process; bounded by HALFBEAT_TTS_CACHE_MB.",
            Query(of("halfbeat_tts_cache_bytes"), "{{instance}}"), unit="bytes", span=12,
        ),
    ]  # fmt: skip


def _vllm() -> list[Panel]:
    cached = share(rate("vllm:prefix_cache_hits_total"), rate("vllm:prefix_cache_queries_total"))
    return [
        curves(
            "vLLM: time to the first token", "As vLLM measures it, its own queue included. What dialogue sees on top of"
            " it is network.", Query(quantile(0.5, "vllm:time_to_first_token_seconds", "model_name"), "median"),
            Query(quantile(0.95, "vllm:time_to_first_token_seconds", "model_name"), "p95"), unit="s",
            levels=lines((0.3, AMBER), (0.6, RED)),
        ),
        curves(
            "vLLM: requests that run and that wait", "Waiting requests make every first token later: more GPUs, or"
            " fewer calls for each.", Query(total("vllm:num_requests_running", "instance"), "{{instance}} run"),
            Query(total("vllm:num_requests_waiting", "instance"), "{{instance}} wait"), unit="short",
        ),
        curves(
            "vLLM: tokens a second", "Read and written by the GPU, all callers of the server together.",
            Query(rate("vllm:prompt_tokens_total"), "read"), Query(rate("vllm:generation_tokens_total"), "written"),
            unit="short",
        ),
        curves(
            "vLLM: time between tokens", "Speech takes about 4 tokens a second; from 0.25 s on the agent would have to"
            " wait for its own words.", Query(quantile(0.5, "vllm:inter_token_latency_seconds"), "median"),
            Query(quantile(0.95, "vllm:inter_token_latency_seconds"), "p95"), unit="s", levels=lines((0.25, RED)),
        ),
        curves(
            "vLLM: memory for contexts in use", "Share of the KV cache, and how often a request was thrown out of it"
            " for another one.", Query(of("vllm:kv_cache_usage_perc"), "{{instance}} in use"), unit="percentunit",
            levels=lines((0.9, RED)),
        ),
        curves(
            "vLLM: share of prompts from the prefix cache", "Persona and conversation are the same from turn to turn."
            " When this falls, the KV cache is too small for the calls.", Query(cached, "from the cache"),
            unit="percentunit",
        ),
        curves(
            "vLLM: time in its queue", "Mean wait of a request before it runs.",
            Query(mean("vllm:request_queue_time_seconds"), "mean"), unit="s", levels=lines((0.05, AMBER)),
        ),
        curves(
            "vLLM: requests thrown out of memory, a minute", "Preempted requests are computed anew: their callers"
            " wait.", Query(per_minute("vllm:num_preemptions_total", "instance"), "{{instance}}"), unit="short",
            levels=lines((0.01, RED)),
        ),
        curves(
            "vLLM: requests a minute, by how they ended", "stop is a whole answer, length one that was longer than"
            " HALFBEAT_DIALOGUE_MAX_ANSWER_TOKENS.", Query(per_minute("vllm:request_success_total", "finished_reason"),
            "{{finished_reason}}"), unit="short", stacking=StackingMode.NORMAL,
        ),
    ]  # fmt: skip


def _llama() -> list[Panel]:
    return [
        curves(
            "llama.cpp: requests that run and that wait", "The bundled server answers one at a time unless told"
            " otherwise; calls that wait here are slow calls.",
            Query(total("llamacpp:requests_processing", "instance"), "{{instance}} run"),
            Query(total("llamacpp:requests_deferred", "instance"), "{{instance}} wait"), unit="short", span=12,
        ),
        curves(
            "llama.cpp: tokens a second", "Read and written, over the time shown, not only while it works.",
            Query(rate("llamacpp:prompt_tokens_total"), "read"), Query(rate("llamacpp:tokens_predicted_total"),
            "written"), unit="short", span=12,
        ),
    ]  # fmt: skip
