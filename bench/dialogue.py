"""Holds varied 311 conversations in text with the real model: are the facts right, how fast is the first clause?

    python -m bench.dialogue --calls 12 [--llm-url http://127.0.0.1:8081/v1] [--out build/bench/dialogue.json]

The whole dialogue service runs on an in-memory bus; the model runs as `halfbeat up` runs it. The caller's words arrive
as partials at the pace of speech, the last one as the final transcript. The clock starts when these words are there,
with the draft of the turn, and stops when the first clause arrives; the turn is committed after `--pause-ms`, and only
then tools run. Between turns there is the pause in which the agent would be speaking.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import tempfile
import time
import tomllib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from halfbeat import subjects
from halfbeat.bus.memory import MemoryBroker, MemoryBus
from halfbeat.caller.facts import Expected, check
from halfbeat.v1 import asr_pb2, common_pb2, dialogue_pb2, session_pb2, turn_pb2

CALLS = Path(__file__).with_name("dialogue_calls.toml")
WORD_S = 0.33


@dataclass
class Turn:
    """What was said and what came of it."""

    said: str
    answer: str = ""
    first_clause_ms: float | None = None
    is_drafted: bool = False
    faults: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    read_tokens: int = 0
    hangs_up: bool = False


@dataclass
class Result:
    """One call."""

    caller: str
    turns: list[Turn]
    opening: str = ""
    faults: list[str] = field(default_factory=list)


class TextCall:
    """The router's part of one call, in text."""

    def __init__(
        self, bus: MemoryBus, sid: str, *, speaks_s: float, has_partials: bool, pause_s: float, has_drafts: bool = True
    ) -> None:
        self._bus, self._sid = bus, sid
        self._speaks_s, self._has_partials, self._pause_s = speaks_s, has_partials, pause_s
        self._has_drafts = has_drafts
        self._is_void = False
        self._turn = -1

    async def open(self, number: str) -> Turn:
        kinds = (subjects.DIALOGUE_CLAUSE, subjects.DIALOGUE_DONE, subjects.DIALOGUE_VOID, subjects.TOOL_CALL)
        self._answers = await self._bus.subscribe([kind.of(self._sid) for kind in kinds])
        request = session_pb2.OpenRequest(stamp=common_pb2.Stamp(sid=self._sid))
        request.config.caller_number = number
        request.config.has_opening = True
        reply = await self._bus.request(subjects.DIALOGUE_OPEN, request, session_pb2.OpenReply, timeout_s=10)
        if reply.HasField("error"):
            raise RuntimeError(reply.error.message)
        return await self.say("")

    async def say(self, words: str) -> Turn:
        self._turn += 1
        stamp = common_pb2.Stamp(sid=self._sid, turn=self._turn)
        if self._has_partials and words:
            await self._speak(words, stamp)
        turn = Turn(words)
        self._is_void = False
        began = time.monotonic()
        committing = asyncio.create_task(self._commit(words, stamp))
        clauses = 0
        async with asyncio.timeout(60):
            async for delivery in self._answers:
                message = delivery.message
                if isinstance(message, dialogue_pb2.ToolCall):
                    turn.tools.append(message.name)
                elif isinstance(message, dialogue_pb2.DraftVoided):
                    self._is_void = True
                    clauses, turn.answer, turn.first_clause_ms, turn.is_drafted = 0, "", None, False
                elif isinstance(message, dialogue_pb2.Clause):
                    clauses += 1
                    if turn.first_clause_ms is None:
                        turn.first_clause_ms = (time.monotonic() - began) * 1000
                        turn.is_drafted = message.is_draft
                    turn.answer = f"{turn.answer} {message.text}".strip()
                elif isinstance(message, dialogue_pb2.AnswerDone):
                    turn.hangs_up = message.hangs_up
                    turn.read_tokens = message.prompt_tokens - message.cached_tokens
                    stamp = message.stamp
                    break
        await committing
        heard = turn_pb2.Heard(stamp=stamp, clause=max(0, clauses - 1), chars=10_000, is_complete=True)
        await self._bus.publish(subjects.TURN_HEARD, heard)
        if not turn.hangs_up:
            await asyncio.sleep(self._speaks_s)
        return turn

    async def _commit(self, words: str, stamp: common_pb2.Stamp) -> None:
        """The draft of the turn, and after the pause its commit."""
        commit = turn_pb2.TurnCommitted(stamp=stamp, transcript=words, wants_answer=True, is_prompted=not words)
        if not words:
            commit.prompt_cause = turn_pb2.PROMPT_CAUSE_OPENING
        elif self._has_drafts:
            await self._bus.publish(subjects.TURN_DRAFT, turn_pb2.TurnDrafted(stamp=stamp, transcript=words))
        if words:
            await asyncio.sleep(self._pause_s)
        commit.adopts_draft = bool(words) and self._has_drafts and not self._is_void
        commit.stamp.revision += self._is_void
        await self._bus.publish(subjects.TURN_COMMIT, commit)

    async def _speak(self, words: str, stamp: common_pb2.Stamp) -> None:
        parts = words.split()
        for count in range(1, len(parts)):
            await asyncio.sleep(WORD_S)
            partial = asr_pb2.Transcript(stamp=stamp, stable=" ".join(parts[:count]))
            await self._bus.publish(subjects.ASR_PARTIAL, partial)
        await asyncio.sleep(WORD_S)
        final = asr_pb2.Transcript(stamp=stamp, stable=words, is_final=True)
        await self._bus.publish(subjects.ASR_FINAL, final)

    async def hang_up(self) -> None:
        await self._bus.publish(
            subjects.SESSION_CLOSE, session_pb2.SessionClosed(stamp=common_pb2.Stamp(sid=self._sid), by="caller")
        )
        await self._answers.aclose()


@asynccontextmanager
async def llm(url: str, model: str, threads: int) -> AsyncIterator[str]:
    """The language model's server: the one at `url`, or one of our own."""
    if url:
        yield url
        return
    argv = ["-m", "services.dialogue.llama_server", "--threads", str(threads)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *argv, *(["--model", model] if model else []), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    try:
        async for line in process.stderr:
            if b'"ready"' in line:
                yield f"http://127.0.0.1:{json.loads(line)['http_port']}/v1"
                break
        else:
            raise RuntimeError("the language model's server did not start")
    finally:
        process.terminate()
        await process.wait()


async def run(arguments: argparse.Namespace) -> int:
    """Hold the calls and report; 1 when fewer than 95 % of the turns are right."""
    rng = random.Random(arguments.seed)
    callers = read_callers(arguments.script)
    results: list[Result] = []
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(llm(arguments.llm_url, arguments.model, arguments.threads))
        for number in range(arguments.calls):
            caller = callers[number % len(callers)]
            if arguments.only and arguments.only not in caller["name"]:
                continue
            results.append(await one_call(url, caller, f"bench-{number}", rng, arguments))
            _show(results[-1])
    report = _report(results, arguments)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(report, indent=1))
    return 0 if report["turns_right"] >= 0.95 else 1


def read_callers(path: Path) -> list[dict[str, Any]]:
    """Callers of our own file, or the calls of the demonstration, whose format has one wording a turn."""
    table = tomllib.loads(path.read_text())
    if "callers" in table:
        return list(table["callers"])
    return [
        {
            "name": f"call {index} of {path.name}",
            "number": call["number"],
            "bookings": 1,
            "texts": 1,
            "steps": [turn | {"say": [turn["say"]]} for turn in call["turns"]],
        }
        for index, call in enumerate(table["calls"], 1)
    ]


async def one_call(
    url: str, caller: dict[str, Any], sid: str, rng: random.Random, arguments: argparse.Namespace
) -> Result:
    """One call against a city of its own."""
    from apps.city311.city import open_city
    from apps.city311.config import City311Settings
    from services.dialogue.config import DialogueSettings
    from services.dialogue.loading import load_application
    from services.dialogue.service import DialogueService

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HALFBEAT_STATE"] = folder
        settings = DialogueSettings(llm_url=url, dialect=arguments.dialect)
        broker = MemoryBroker()
        async with MemoryBus(broker) as bus, MemoryBus(broker) as caller_bus:
            service = DialogueService(settings, bus, application=load_application("apps.city311"))
            async with service:
                call = TextCall(
                    caller_bus,
                    sid,
                    speaks_s=arguments.speaks_s,
                    has_partials=not arguments.no_partials,
                    pause_s=arguments.pause_ms / 1000,
                    has_drafts=not arguments.no_drafts,
                )
                opening = await call.open(caller.get("number", ""))
                result = Result(caller["name"], [], opening.answer)
                for step in caller["steps"]:
                    turn = await call.say(rng.choice(step["say"]))
                    turn.faults = check(Expected.from_table(step), turn.answer)
                    result.turns.append(turn)
                if not result.turns[-1].hangs_up:
                    result.turns[-1].faults.append("did not hang up")
                for early in result.turns[:-1]:
                    if early.hangs_up:
                        early.faults.append("hung up")
                await call.hang_up()
        async with open_city(City311Settings()) as city:
            for what, found in (("bookings", await city.bookings()), ("texts", await city.texts())):
                if len(found) != caller[what]:
                    result.faults.append(f"{len(found)} {what}, not {caller[what]}")
    return result


def _show(result: Result) -> None:
    print(f"\n{result.caller}\n  agent: {result.opening}")
    for turn in result.turns:
        cost = f"{turn.first_clause_ms:.0f} ms, {turn.read_tokens} tokens read"
        print(f"  caller: {turn.said}\n  agent: {turn.answer}  [{' '.join((cost, *turn.tools))}]")
        for fault in turn.faults:
            print(f"    FAULT {fault}")
    for fault in result.faults:
        print(f"    FAULT {fault}", flush=True)


def _report(results: list[Result], arguments: argparse.Namespace) -> dict[str, Any]:
    turns = [turn for result in results for turn in result.turns]
    times = sorted(turn.first_clause_ms for turn in turns if turn.first_clause_ms is not None)
    right = sum(not turn.faults for turn in turns)
    clean = sum(not result.faults and all(not t.faults for t in result.turns) for result in results)
    spread = {
        "min": times[0],
        "p50": statistics.median(times),
        "p90": times[int(0.9 * (len(times) - 1))],
        "max": times[-1],
    }
    by_kind = {
        kind: statistics.median(values)
        for kind, values in (
            ("with_tool_ms", [t.first_clause_ms for t in turns if t.tools and t.first_clause_ms]),
            ("speech_ms", [t.first_clause_ms for t in turns if not t.tools and t.first_clause_ms]),
            ("in_draft_ms", [t.first_clause_ms for t in turns if t.is_drafted and t.first_clause_ms]),
        )
        if values
    }
    drafted = sum(turn.is_drafted for turn in turns)
    read = statistics.median(turn.read_tokens for turn in turns)
    side_effects = sum(not result.faults for result in results)
    print(
        f"\n{len(results)} calls, {len(turns)} turns, seed {arguments.seed}:"
        f" {right} turns right ({right / len(turns):.1%}), side effects right in {side_effects}, all right in {clean}\n"
        "last words to first clause, ms: "
        + ", ".join(f"{k} {v:.0f}" for k, v in (spread | by_kind).items())
        + f"; {drafted} of {len(turns)} in the draft; tokens read after the last words, median: {read:.0f}"
        f"; load average {os.getloadavg()[0]:.1f}"
    )
    return {
        "turns_right": right / len(turns),
        "first_clause_ms": spread | by_kind,
        "drafted": drafted,
        "read_tokens": read,
        "calls": [asdict(result) for result in results],
    }


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.dialogue", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=12, help="how many calls; the kinds of caller take turns [12]")
    parser.add_argument("--seed", type=int, default=1, help="draws the wordings [1]")
    parser.add_argument("--script", type=Path, default=CALLS, help="the callers [bench/dialogue_calls.toml]")
    parser.add_argument("--only", default="", help="only callers whose name holds this")
    parser.add_argument("--llm-url", default="", help="server that runs already; else one is started")
    parser.add_argument("--model", default="", help="GGUF file or catalogue name for that one")
    parser.add_argument("--threads", type=int, default=0, help="its threads")
    parser.add_argument("--dialect", default="compact", help="compact, structured or native [compact]")
    parser.add_argument("--speaks-s", type=float, default=2.5, help="pause for the agent's speech, in seconds [2.5]")
    parser.add_argument(
        "--pause-ms", type=float, default=150, help="final transcript to commit: the end-of-turn decision [150]"
    )
    parser.add_argument("--no-drafts", action="store_true", help="the model is not asked before the commit")
    parser.add_argument("--no-partials", action="store_true", help="the caller's words come only when committed")
    parser.add_argument("--out", type=Path, help="report as JSON")
    return asyncio.run(run(parser.parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
