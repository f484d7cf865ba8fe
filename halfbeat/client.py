"""Typed client of the gRPC edge: one conversation is one call.

async with VoiceClient("127.0.0.1:50051") as client, client.converse(sample_rate_hz=16000) as call:
    await call.send_audio(pcm)
    async for event in call:
        match event:
            case voice_pb2.AgentAudio(): play(event.pcm)
            case voice_pb2.Caption(): show(event.text)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from halfbeat.errors import CODES, HalfbeatError, InternalError, InvalidRequest, TimedOut, Unavailable, from_message
from halfbeat.v1 import common_pb2, session_pb2, voice_pb2, voice_pb2_grpc

#: What a conversation yields; `Ended` is the last one.
Event = voice_pb2.AgentAudio | voice_pb2.Caption | voice_pb2.Event | common_pb2.Error | voice_pb2.Ended
_ERROR_KEY = "halfbeat-error-bin"
_OPTIONS = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]


class VoiceClient:
    """A connection to a router. `async with` connects."""

    def __init__(self, target: str = "127.0.0.1:50051", *, api_key: str = "", timeout_s: float = 10.0) -> None:
        """Takes the router's address.

        Args:
            target: host:port.
            api_key: sent as bearer key when the router asks for one.
            timeout_s: deadline of connecting, of placing a call and of sending one message.
        """
        self._target, self._timeout_s = target, timeout_s
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._channel: Any = None

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._channel.channel_ready()
        except TimeoutError:
            await self._channel.close()
            raise Unavailable(f"no router answers at {self._target}") from None
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._channel.close()

    @asynccontextmanager
    async def converse(
        self,
        config: session_pb2.SessionConfig | None = None,
        *,
        sample_rate_hz: int = 16_000,
        reports_playout: bool = False,
        cleaning: voice_pb2.Cleaning = voice_pb2.CLEANING_UNSPECIFIED,
        max_call_s: float = 3600.0,
        idle_timeout_s: float = 120.0,
    ) -> AsyncIterator["Conversation"]:
        """Places a call; leaving the block hangs up.

        Args:
            config: how the call is to be held.
            sample_rate_hz: of audio both ways: 8000, 16000, 24000 or 48000.
            reports_playout: `Conversation.played` will be called; makes exact what the agent takes for heard.
            cleaning: what the router takes out of the caller's audio: nothing for a client that cancels echo itself.
            max_call_s: deadline of the whole call.
            idle_timeout_s: longest silence of the router before the call counts as lost.

        Raises:
            HalfbeatError: the router refused the call; the class says why.
        """
        stub: Any = voice_pb2_grpc.VoiceStub(self._channel)  # type: ignore[no-untyped-call]
        stream = stub.Converse(timeout=max_call_s, metadata=self._metadata)
        conversation = Conversation(stream, self._timeout_s, idle_timeout_s)
        try:
            await conversation.start(
                voice_pb2.Configure(
                    sample_rate=sample_rate_hz,
                    session=config or session_pb2.SessionConfig(has_opening=True),
                    reports_playout=reports_playout,
                    cleaning=cleaning,
                )
            )
            yield conversation
            await conversation.aclose()
        finally:
            stream.cancel()


class Conversation:
    """One call. Iterate it for what happens; the iteration ends with `Ended`.

    Cancelling a pending read or write ends the call: gRPC gives up the stream then.
    """

    def __init__(self, stream: Any, timeout_s: float, idle_timeout_s: float) -> None:
        self._stream, self._timeout_s, self._idle_timeout_s = stream, timeout_s, idle_timeout_s
        self._has_ended = False
        self.sid = ""

    async def start(self, configure: voice_pb2.Configure) -> None:
        """Sends the configuration and waits until the router holds the call; `VoiceClient.converse` does it."""
        await self._send(voice_pb2.ConverseRequest(configure=configure))
        response = await self._receive(self._timeout_s)
        if response is None or response.WhichOneof("response") != "started":
            raise InternalError("the router did not begin with `started`")
        self.sid = response.started.sid

    async def send_audio(self, pcm: bytes) -> None:
        """Sends the caller's audio: mono s16 little endian at the call's rate, at most 200 ms."""
        if len(pcm) % 2:
            raise InvalidRequest(f"audio of {len(pcm)} bytes: half a sample is left over")
        await self._send(voice_pb2.ConverseRequest(audio=pcm))

    async def played(self, samples: int) -> None:
        """Says how far the agent's audio was played, on the timeline of `AgentAudio.offset_samples`."""
        await self._send(voice_pb2.ConverseRequest(played=voice_pb2.Played(samples=samples)))

    async def send_text(self, text: str) -> None:
        """Says a whole turn in writing."""
        await self._send(voice_pb2.ConverseRequest(text=text))

    async def interrupt(self) -> None:
        """Stops the agent now."""
        await self._send(voice_pb2.ConverseRequest(interrupt=voice_pb2.Interrupt()))

    async def end(self) -> None:
        """Hangs up; `Ended` follows."""
        await self._send(voice_pb2.ConverseRequest(end=voice_pb2.End()))

    async def aclose(self) -> None:
        """Hangs up if the call still goes on, and waits for its end."""
        if self._has_ended:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self.end()
                async for _ in self:
                    pass
        except (HalfbeatError, TimeoutError):
            self._has_ended = True

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not self._has_ended:
            response = await self._receive(self._idle_timeout_s)
            if response is None:
                self._has_ended = True
                return
            name = response.WhichOneof("response")
            if name is None or name == "started":
                continue
            self._has_ended = name == "ended"
            yield getattr(response, name)

    async def _receive(self, timeout_s: float) -> voice_pb2.ConverseResponse | None:
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._stream.read()
        except TimeoutError:
            raise TimedOut(f"the router said nothing for {timeout_s:.0f} s") from None
        except grpc.aio.AioRpcError as e:
            raise _error_of(e) from None
        if response is grpc.aio.EOF:
            return None
        assert isinstance(response, voice_pb2.ConverseResponse)
        return response

    async def _send(self, request: voice_pb2.ConverseRequest) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._stream.write(request)
        except TimeoutError:
            raise TimedOut(f"the router took nothing for {self._timeout_s:.0f} s") from None
        except grpc.aio.AioRpcError as e:
            raise _error_of(e) from None
        except asyncio.InvalidStateError:
            raise await self._final_error() from None

    async def _final_error(self) -> HalfbeatError:
        """Why nothing can be sent any more."""
        code, details = await self._stream.code(), await self._stream.details()
        if code is grpc.StatusCode.OK:
            return InvalidRequest("the call has ended")
        return _error(code.name, str(details), await self._stream.trailing_metadata())


def _error_of(e: grpc.aio.AioRpcError) -> HalfbeatError:
    return _error(e.code().name, e.details() or "", e.trailing_metadata())


def _error(status: str, details: str, metadata: Any) -> HalfbeatError:
    """The error of a finished RPC: whole from the metadata, else by its status."""
    for key, value in metadata or ():
        if key == _ERROR_KEY:
            try:
                return from_message(common_pb2.Error.FromString(value))
            except DecodeError:
                break
    code = next((code for code, codes in CODES.items() if codes.grpc == status), common_pb2.ERROR_CODE_INTERNAL)
    return from_message(common_pb2.Error(code=common_pb2.ErrorCode.Name(code), message=details or status))
