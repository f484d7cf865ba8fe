"""How a caller reaches the router: as a telephone call through Twilio's Media Streams protocol, or over gRPC."""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import aiohttp
import numpy as np

from halfbeat.audio import MU_LAW
from halfbeat.caller.phone import Phone, Samples
from halfbeat.client import Conversation, VoiceClient
from halfbeat.errors import HalfbeatError, Unavailable, from_message
from halfbeat.v1 import common_pb2, session_pb2, voice_pb2


class Transport(Protocol):
    """An open call. It feeds the phone by itself.

    Attributes:
        phone: the caller's end.
        ended: set when the other side hung up.
        error: why it did, when it refused the call or could not hold it; None after a regular end.
    """

    phone: Phone
    ended: asyncio.Event
    error: HalfbeatError | None

    async def send(self, frame: Samples) -> None:
        """Sends 20 ms of the caller; also reports what was played."""

    async def hang_up(self) -> None:
        """Ends the call from the caller's side."""


class TwilioCall:
    """Plays Twilio's part of Media Streams: connected, start, media, mark, stop; mu-law, 8 kHz, 20 ms."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, phone: Phone) -> None:
        self.phone, self.ended = phone, asyncio.Event()
        self.error: HalfbeatError | None = None
        self.stream_sid = "MZ" + uuid.uuid4().hex
        self.call_sid = "CA" + uuid.uuid4().hex
        self._socket, self._sequence, self._sent_ms = socket, 0, 0

    async def start(self, parameters: Mapping[str, str]) -> None:
        """Says hello as Twilio does; `parameters` are the call's custom parameters."""
        await self._socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        await self._event(
            "start",
            start={
                "streamSid": self.stream_sid,
                "accountSid": "AC" + "0" * 32,
                "callSid": self.call_sid,
                "tracks": ["inbound"],
                "customParameters": dict(parameters),
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            },
        )

    async def _event(self, event: str, **fields: Any) -> None:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.stream_sid, **fields}
        with suppress(ConnectionError, aiohttp.ClientError):
            await self._socket.send_str(json.dumps(message))

    async def send(self, frame: Samples) -> None:
        """Sends a media event, then the marks that have been played."""
        payload = base64.b64encode(MU_LAW.encode(frame.tobytes())).decode()
        self._sent_ms += 20
        await self._event(
            "media",
            media={
                "track": "inbound",
                "chunk": str(self._sent_ms // 20),
                "timestamp": str(self._sent_ms),
                "payload": payload,
            },
        )
        while self.phone.played_marks:
            await self._event("mark", mark={"name": self.phone.played_marks.popleft()})

    async def listen(self) -> None:
        """Takes what the router sends until it hangs up."""
        while (message := await self._socket.receive()).type is aiohttp.WSMsgType.TEXT:
            event = json.loads(message.data)
            match event.get("event"):
                case "media":
                    self.phone.receive(to_samples(MU_LAW.decode(base64.b64decode(event["media"]["payload"]))))
                case "mark":
                    self.phone.receive_mark(event["mark"]["name"])
                case "clear":
                    self.phone.clear()
        # Twilio's protocol has no error message; the router closes with the reason.
        if message.type is aiohttp.WSMsgType.CLOSE and message.data != aiohttp.WSCloseCode.OK:
            self.error = HalfbeatError(message.extra or f"the router closed the call with code {message.data}")
        self.ended.set()

    async def hang_up(self) -> None:
        """Sends stop and closes the socket."""
        await self._event("stop", stop={"accountSid": "AC" + "0" * 32, "callSid": self.call_sid})
        await self._socket.close()


@asynccontextmanager
async def twilio(http_url: str, phone: Phone, parameters: Mapping[str, str]) -> AsyncIterator[TwilioCall]:
    """Calls the router at `http_url` as Twilio would; the phone must run at 8 kHz."""
    url = http_url.rstrip("/") + "/twilio/media"
    async with aiohttp.ClientSession() as session:
        try:
            socket = await session.ws_connect(url, heartbeat=20, timeout=aiohttp.ClientWSTimeout(ws_close=5))
        except (aiohttp.ClientError, OSError) as e:
            raise Unavailable(f"no router answers at {url}: {e}; start one with `halfbeat up`") from e
        call = TwilioCall(socket, phone)
        listening = asyncio.create_task(call.listen())
        try:
            await call.start(parameters)
            yield call
        finally:
            await call.hang_up()
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening


class GrpcCall:
    """The same over `halfbeat.v1.Voice/Converse`; reports what was played."""

    def __init__(self, conversation: Conversation, phone: Phone) -> None:
        self.phone, self.ended = phone, asyncio.Event()
        self.error: HalfbeatError | None = None
        self._conversation = conversation
        self._skipped, self._reported = 0, 0

    async def send(self, frame: Samples) -> None:
        """Sends 20 ms of the caller and how far the agent's audio has played."""
        if self.ended.is_set():
            return
        with suppress(HalfbeatError):  # the call ended in this moment; `ended` says so
            await self._conversation.send_audio(frame.tobytes())
            played = self.phone.played_samples + self._skipped
            if played != self._reported:
                self._reported = played
                await self._conversation.played(played)

    async def listen(self) -> None:
        """Takes what the router sends until it hangs up."""
        last_error: HalfbeatError | None = None
        try:
            async for event in self._conversation:
                match event:
                    case voice_pb2.AgentAudio():
                        known = self.phone.played_samples + self.phone.waiting_samples
                        self._skipped = event.offset_samples - known
                        self.phone.receive(to_samples(event.pcm))
                    case voice_pb2.Event(kind=voice_pb2.EVENT_KIND_INTERRUPTED):
                        self.phone.clear()
                    case common_pb2.Error():  # the call goes on, unless the router ends it
                        last_error = from_message(event)
                    case voice_pb2.Ended(by="router"):
                        self.error = last_error
        except HalfbeatError as e:
            self.error = e
        finally:
            self.ended.set()

    async def hang_up(self) -> None:
        """Ends the call from the caller's side."""
        if not self.ended.is_set():
            with suppress(HalfbeatError):
                await self._conversation.end()


@asynccontextmanager
async def grpc(target: str, phone: Phone, number: str, *, api_key: str = "") -> AsyncIterator[GrpcCall]:
    """Calls the router at host:port over gRPC, at the phone's rate."""
    config = session_pb2.SessionConfig(caller_number=number, has_opening=True)
    async with (
        VoiceClient(target, api_key=api_key) as client,
        client.converse(config, sample_rate_hz=phone.sample_rate_hz, reports_playout=True) as conversation,
    ):
        call = GrpcCall(conversation, phone)
        listening = asyncio.create_task(call.listen())
        try:
            yield call
        finally:
            await call.hang_up()
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await listening


def to_samples(pcm: bytes) -> Samples:
    """Views s16 little endian bytes as samples."""
    return np.frombuffer(pcm, "<i2")


def dial(
    edge: str, url: str, phone: Phone, number: str, *, api_key: str = ""
) -> AbstractAsyncContextManager[Transport]:
    """Calls a router.

    Args:
        edge: "twilio" (url of HTTP) or "grpc" (host:port).
        url: where the router listens.
        phone: the caller's end; at 8 kHz for twilio.
        number: caller's number, empty when withheld.
        api_key: of a router that asks for one; Twilio's protocol has none.
    """
    if edge == "grpc":
        return grpc(url, phone, number, api_key=api_key)
    return twilio(url, phone, {"from": number} if number else {})
