"""gRPC `halfbeat.v1.Voice`: one bidirectional stream is one call. A thin shell around `voice_stream`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Self, TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from halfbeat.errors import CODES, HalfbeatError, InternalError, InvalidRequest, TimedOut, code_name, from_message
from halfbeat.v1 import voice_pb2, voice_pb2_grpc
from services.router.edge import Calls, Ended, LiveCall
from services.router.edges import voice_stream
from services.router.edges.counters import BAD_INPUT, REFUSED, STUCK
from services.router.edges.door import Door, bearer
from services.router.edges.settings import EdgeSettings

log = logging.getLogger(__name__)
SERVICE = "halfbeat.v1.Voice"
# Who is not let in may finish its first message for so long.
_REFUSAL_S = 1.0
# Trailing metadata that carries the whole error, for clients that want more than the status code.
ERROR_KEY = "halfbeat-error-bin"
# Audio messages are small; a configuration with instructions and tools may be longer.
MAX_MESSAGE_BYTES = 1 << 20
OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # An address that another process serves already is an error, not a lottery.
    ("grpc.so_reuseport", 0),
]
Context: TypeAlias = Any  # grpc.aio.ServicerContext, which has no types


class GrpcEdge(voice_pb2_grpc.VoiceServicer):
    """The gRPC server: Voice and the standard health service.

    `async with` starts listening; `port` is then the one in use.
    """

    def __init__(self, calls: Calls, door: Door, settings: EdgeSettings, *, host: str, port: int) -> None:
        """Takes where calls come from, who may come in, the limits and where to listen (port 0 picks one)."""
        self._calls, self._door, self._settings = calls, door, settings
        self._address, self.port = f"[{host}]" if ":" in host else host, port
        self._server: Any = None
        self._health = health.aio.HealthServicer()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=OPTIONS)
        voice_pb2_grpc.add_VoiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        try:
            self.port = self._server.add_insecure_port(f"{self._address}:{self.port}")
        except RuntimeError as e:
            raise HalfbeatError(
                f"cannot listen on {self._address}:{self.port}; set HALFBEAT_ROUTER_GRPC_PORT to another port"
            ) from e
        await self._server.start()
        await self.set_serving(True)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace=1.0)

    async def set_serving(self, is_serving: bool) -> None:
        """What the health service says."""
        status = health_pb2.HealthCheckResponse.SERVING if is_serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", SERVICE):
            await self._health.set(service, status)

    async def Converse(self, request_iterator: AsyncIterator[voice_pb2.ConverseRequest], context: Context) -> None:
        """Holds one call."""
        metadata = dict(context.invocation_metadata() or ())
        is_in = False
        try:
            try:
                self._door.check_key(bearer(str(metadata.get("authorization", ""))))
            except HalfbeatError:
                REFUSED.labels("grpc", "denied").inc()
                raise
            with self._door.admit("grpc"):
                is_in = True
                async with asyncio.timeout(self._settings.max_call_s):
                    await self._hold(request_iterator, context)
        except HalfbeatError as e:
            if not is_in:
                # The status does not reach a client that is still writing when the stream ends.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_REFUSAL_S):
                        await anext(aiter(request_iterator), None)
            await _abort(context, e)
        except TimeoutError:
            await _abort(context, TimedOut("the call has reached its longest duration"))

    async def _hold(self, requests: AsyncIterator[voice_pb2.ConverseRequest], context: Context) -> None:
        configure = await self._configuration(requests)
        fmt = voice_stream.edge_format(configure)
        call = await self._calls.open(configure.session, fmt, edge="grpc")
        down = _Down(context, self._settings.send_timeout_s)
        listening: asyncio.Task[None] | None = None
        try:
            await down.send(
                voice_pb2.ConverseResponse(started=voice_pb2.Started(sid=call.sid, sample_rate=fmt.sample_rate_hz))
            )
            listening = asyncio.create_task(_listen(requests, call, down, fmt.sample_rate_hz), name=f"grpc-{call.sid}")
            async for event in call.events():
                failure = event.error if isinstance(event, Ended) else None
                if failure is not None:
                    await down.send(voice_pb2.ConverseResponse(error=failure))
                if (response := voice_stream.response(event)) is not None:
                    await down.send(response)
                if failure is not None:
                    raise from_message(failure)
        finally:
            call.end("caller")
            if listening is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    async def _configuration(self, requests: AsyncIterator[voice_pb2.ConverseRequest]) -> voice_pb2.Configure:
        try:
            async with asyncio.timeout(self._settings.first_message_s):
                async for request in requests:
                    if request.WhichOneof("request") != "configure":
                        BAD_INPUT.labels("grpc", "out_of_order").inc()
                        raise InvalidRequest("the first message must be `configure`")
                    return request.configure
        except TimeoutError:
            raise TimedOut(f"no `configure` within {self._settings.first_message_s:.0f} s") from None
        raise InvalidRequest("the stream ended before `configure`")


async def _listen(
    requests: AsyncIterator[voice_pb2.ConverseRequest], call: LiveCall, down: "_Down", rate_hz: int
) -> None:
    """Hands the client's messages to the call; when the stream ends, explicitly or not, so does the call."""
    try:
        async for request in requests:
            try:
                if voice_stream.apply(request, call, rate_hz):
                    break
            except HalfbeatError as e:
                BAD_INPUT.labels("grpc", code_name(e.code)).inc()
                await down.send(voice_pb2.ConverseResponse(error=e.to_message()))
    except (grpc.RpcError, grpc.aio.UsageError):
        log.info("the caller was lost", extra={"sid": call.sid})
    except Exception:
        log.exception("the edge failed on this call", extra={"sid": call.sid})
        await down.send(voice_pb2.ConverseResponse(error=InternalError("the edge failed on this call").to_message()))
    finally:
        call.end("caller")


class _Down:
    """Writes to the client, one message at a time, each with a deadline."""

    def __init__(self, context: Context, timeout_s: float) -> None:
        self._context, self._timeout_s = context, timeout_s
        self._lock = asyncio.Lock()

    async def send(self, response: voice_pb2.ConverseResponse) -> None:
        """Sends one message.

        Raises:
            TimedOut: the client does not read.
        """
        try:
            async with self._lock, asyncio.timeout(self._timeout_s):
                await self._context.write(response)
        except TimeoutError:
            STUCK.labels("grpc").inc()
            raise TimedOut(f"the client read nothing for {self._timeout_s:.0f} s") from None


async def _abort(context: Context, error: HalfbeatError) -> None:
    """Ends the RPC with the status of the error."""
    message = error.to_message()
    await context.abort(
        grpc.StatusCode[CODES[message.code].grpc], message.message, ((ERROR_KEY, message.SerializeToString()),)
    )
