"""The page: what it shows, to whom, and as it happens."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from scripted_call import ScriptedCall, ScriptedCalls, eventually

from halfbeat.v1 import common_pb2, session_pb2
from services.router import edge
from services.router.board import MAX_ENDED, MAX_TURNS, Board
from services.router.edges.door import Door
from services.router.page import Page
from services.router.watch import WatchedCalls

HOPS = {"endpoint": 210, "asr.flush": 60, "llm.clause": 150, "tts.first_audio": 80, "playout.first_frame": 20, "bus": 4}
ABOUT = {"version": "0", "services": [], "ways": []}


def a_turn(board: Board, sid: str = "s1") -> None:
    for event in (
        edge.SpeechStarted(1, 0),
        edge.CallerCaption(1, "my trash", False),
        edge.SpeechStopped(1, 900),
        edge.TurnCommitted(1, "my trash was missed"),
        edge.ToolCalled(1, "c1", "schedule_pickup", '{"street": "Oak"}', False),
        edge.ToolReturned(1, "c1", "schedule_pickup", "{}", None),
        edge.AnswerStarted(1, 524),
        edge.AgentCaption(1, 0, "I am sorry."),
        edge.AgentAudio(bytes(320), 0, 1, 0),
        edge.AgentCaption(1, 1, "A truck comes tomorrow."),
        edge.AnswerDone(1, "I am sorry. A truck comes tomorrow.", False),
        edge.TurnDone(1, 524, HOPS, False, "abc"),
    ):
        board.happened(sid, event)


def config(number: str = "+15550101") -> session_pb2.SessionConfig:
    return session_pb2.SessionConfig(caller_number=number)


def test_a_turn_is_shown_with_its_words_tools_and_hops():
    board = Board()
    board.opened("s1", config(), "twilio", 100.0)
    a_turn(board)
    call = board.call("s1", with_words=True)
    assert (call["edge"], call["caller_number"], call["state"]) == ("twilio", "+15550101", "listening")
    assert call["turns"] == [
        {
            "turn": 1,
            "caller": "my trash was missed",
            "is_committed": True,
            "agent": "I am sorry. A truck comes tomorrow.",
            "tools": [{"name": "schedule_pickup", "state": "done"}],
            "v2v_ms": 524,
            "hops_ms": HOPS,
            "is_interrupted": False,
            "trace_id": "abc",
        }
    ]


def test_without_leave_nothing_that_was_said_and_no_number_is_shown():
    board = Board()
    board.opened("s1", config(), "twilio", 100.0)
    a_turn(board)
    shown = json.dumps(board.calls(with_words=False))
    assert not [word for word in ("trash", "sorry", "Oak", "5550101") if word in shown]
    assert '"v2v_ms": 524' in shown


def test_a_reopened_turn_is_shown_once_with_its_whole_text():
    board = Board()
    board.opened("s1", config(), "grpc", 0.0)
    board.happened("s1", edge.TurnCommitted(1, "my trash"))
    board.happened("s1", edge.TurnCommitted(1, "my trash was missed"))
    assert [turn["caller"] for turn in board.call("s1", with_words=True)["turns"]] == ["my trash was missed"]


def test_of_a_cut_answer_the_page_shows_what_was_heard():
    board = Board()
    board.opened("s1", config(), "twilio", 0.0)
    for event in (
        edge.TurnCommitted(1, "when"),
        edge.AgentCaption(1, 0, "Okay,"),
        edge.AgentCaption(1, 1, "a truck comes tomorrow."),
        edge.Interrupted(1, 1, 1240),
        edge.AnswerDone(1, "Okay, a truck", True),
        edge.TurnDone(1, 480, HOPS, True, "abc"),
    ):
        board.happened("s1", event)
    [turn] = board.call("s1", with_words=True)["turns"]
    assert (turn["agent"], turn["is_interrupted"]) == ("Okay, a truck", True)


def test_of_a_reopened_turn_the_answer_that_nobody_heard_is_gone():
    board = Board()
    board.opened("s1", config(), "twilio", 0.0)
    for event in (
        edge.TurnCommitted(1, "my trash"),
        edge.AgentCaption(1, 0, "I am sorry."),
        edge.Interrupted(1, 1, 0),
        edge.TurnCommitted(1, "my trash was missed"),
        edge.AgentCaption(1, 0, "A truck comes tomorrow."),
    ):
        board.happened("s1", event)
    [turn] = board.call("s1", with_words=True)["turns"]
    assert (turn["agent"], turn["is_interrupted"]) == ("A truck comes tomorrow.", False)


def test_only_the_last_ended_calls_and_the_last_turns_are_kept():
    board = Board()
    changed: list[str] = []
    board.on_change = changed.append
    for i in range(MAX_ENDED + 3):
        board.opened(f"s{i}", config(), "grpc", float(i))
        board.ended(f"s{i}", "caller")
    board.opened("live", config(), "grpc", 99.0)
    for turn in range(MAX_TURNS + 9):
        board.happened("live", edge.TurnCommitted(turn, "hi"))
    assert [call["sid"] for call in board.calls(with_words=True)] == [f"s{i}" for i in range(3, 8)] + ["live"]
    assert len(board.call("live", with_words=True)["turns"]) == MAX_TURNS
    assert board.call("s0", with_words=True) is None
    board.happened("s0", edge.TurnCommitted(1, "late"))
    assert board.call("s0", with_words=True) is None


def test_audio_does_not_redraw_the_page():
    board = Board()
    board.opened("s1", config(), "grpc", 0.0)
    changed: list[str] = []
    board.on_change = changed.append
    board.happened("s1", edge.AgentAudio(bytes(320), 0, 1, 0))
    assert changed == []
    board.happened("s1", edge.AgentCaption(1, 0, "Hi."))
    assert changed == ["s1"]


async def test_a_watched_call_passes_everything_through_and_appears_on_the_board():
    calls, board = ScriptedCalls(), Board()
    call = await WatchedCalls(calls, board).open(config(), edge.EdgeFormat(), edge="grpc", sid="s9")
    call.receive_audio(b"\0\0")
    call.create_response("greet")
    assert isinstance(calls.last, ScriptedCall)
    assert calls.last.asked == [("receive_audio",), ("create_response", "greet")]
    error = common_pb2.Error(message="asr is gone")
    calls.last.emit(edge.AgentCaption(0, 0, "Hi."), edge.Ended("router", error))
    assert [type(event) async for event in call.events()] == [edge.AgentCaption, edge.Ended]
    shown = board.call("s9", with_words=True)
    assert (shown["state"], shown["ended_by"], shown["error"]) == ("ended", "router", "asr is gone")


async def test_a_call_that_its_edge_gives_up_is_over_on_the_board_too():
    calls, board = ScriptedCalls(), Board()
    call = await WatchedCalls(calls, board).open(config(), edge.EdgeFormat(), edge="grpc")
    call.end()
    assert board.call(call.sid, with_words=True)["ended_by"] == "caller"
    assert calls.last.ended_by == "caller"


@asynccontextmanager
async def shown(board: Board, door: Door) -> AsyncIterator[str]:
    app = web.Application()
    Page(board, door, lambda: dict(ABOUT)).add_routes(app)
    runner = web.AppRunner(app, shutdown_timeout=30.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        async with asyncio.timeout(10):  # open pages do not hold a stopping server up
            await runner.cleanup()


async def told(response, kind: str) -> dict:
    """The next server-sent event of a kind."""
    async with asyncio.timeout(5):
        while True:
            line = (await response.content.readline()).decode()
            data = (await response.content.readline()).decode()
            await response.content.readline()
            if line == f"event: {kind}\n":
                return json.loads(data.removeprefix("data: "))


LOCAL = Door(hosts=["127.0.0.1"])


async def test_the_events_begin_with_everything_and_go_on_with_each_change(http: ClientSession):
    board = Board()
    board.opened("s1", config(), "twilio", 100.0)
    async with shown(board, LOCAL) as url, http.get(f"{url}/events") as events:
        assert events.content_type == "text/event-stream"
        begin = await told(events, "all")
        assert begin["about"]["has_words"]
        assert [call["sid"] for call in begin["calls"]] == ["s1"]
        a_turn(board)
        assert (await told(events, "call"))["turns"][0]["hops_ms"] == HOPS
        for i in range(MAX_ENDED + 1):
            board.opened(f"x{i}", config(), "grpc", 0.0)
            board.ended(f"x{i}", "caller")
        assert await told(events, "gone") == {"sid": "x0"}


async def test_two_pages_are_told_the_same_and_one_that_left_is_forgotten(http: ClientSession):
    board = Board()
    async with shown(board, LOCAL) as url, http.get(f"{url}/events") as one:
        async with http.get(f"{url}/events") as other:
            await told(one, "all")
            await told(other, "all")
            board.opened("s1", config(), "grpc", 0.0)
            assert (await told(one, "call"))["sid"] == (await told(other, "call"))["sid"] == "s1"
        board.happened("s1", edge.AgentCaption(0, 0, "Hi."))
        assert (await told(one, "call"))["turns"][0]["agent"] == "Hi."


@pytest.mark.parametrize(
    ("path", "kind"), [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
)
async def test_the_files_come_with_a_policy_that_allows_nothing_from_elsewhere(http, path, kind):
    async with shown(Board(), LOCAL) as url, http.get(url + path) as response:
        assert (response.status, response.content_type) == (200, kind)
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self'")
        text = await response.text()
        # The namespace of SVG is a name, not a resource.
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


async def test_the_pages_own_icon_is_allowed_by_its_policy(http):
    async with shown(Board(), LOCAL) as url, http.get(url) as response:
        directives = response.headers["Content-Security-Policy"].split("; ")
        assert '<link rel="icon" href="data:,">' in await response.text()
        assert "img-src data:" in directives


async def test_with_keys_the_page_asks_for_one_and_then_shows_the_words(http):
    door = Door(hosts=["0.0.0.0"], api_keys=["right"])
    async with shown(Board(), door) as url:
        for path in ("/", "/events"):
            async with http.get(url + path) as refused:
                assert refused.status == 401
                assert refused.headers["WWW-Authenticate"].startswith("Basic ")
        basic = base64.b64encode(b"me:right").decode()
        for authorization in ("Bearer right", f"Basic {basic}"):
            async with http.get(f"{url}/events", headers={"Authorization": authorization}) as events:
                assert (await told(events, "all"))["about"]["has_words"]
        for authorization in ("Bearer wrong", "Basic !!", "Digest right", "Basic " + base64.b64encode(b"x").decode()):
            async with http.get(f"{url}/events", headers={"Authorization": authorization}) as refused:
                assert refused.status == 401


async def test_open_to_all_the_words_stay_on_this_machine(http):
    board = Board()
    board.opened("s1", config(), "twilio", 0.0)
    a_turn(board)
    async with shown(board, Door(hosts=["0.0.0.0"], allows_open=True)) as url:
        async with http.get(f"{url}/events") as here:
            assert (await told(here, "all"))["calls"][0]["turns"][0]["caller"] == "my trash was missed"
        async with http.get(f"{url}/events", headers={"X-Forwarded-For": "203.0.113.5"}) as elsewhere:
            begin = await told(elsewhere, "all")
            assert not begin["about"]["has_words"]
            assert begin["calls"][0]["turns"][0]["caller"] == ""


async def test_a_name_that_was_rebound_to_this_machine_sees_nothing(http):
    async with shown(Board(), LOCAL) as url, http.get(f"{url}/events", headers={"Host": "evil.example"}) as refused:
        assert refused.status == 403


async def test_a_page_that_does_not_read_is_cut_off(http, monkeypatch):
    monkeypatch.setattr("services.router.page.SEND_TIMEOUT_S", 0.2)
    board = Board()
    async with shown(board, LOCAL) as url:
        session = ClientSession(read_bufsize=1024)
        events = await session.get(f"{url}/events")
        await told(events, "all")
        stuck_before = _stuck()
        board.opened("s1", config(), "grpc", 0.0)

        def stuck() -> bool:
            board.happened("s1", edge.TurnCommitted(1, "x" * 1_000_000))
            return _stuck() > stuck_before

        await eventually(stuck)
        events.close()
        await session.close()


def _stuck() -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value("halfbeat_edge_stuck_total", {"edge": "page"}) or 0.0
