"""An HTTP server with the WebSocket edges on a free port."""

from dataclasses import dataclass

from aiohttp import web
from scripted_call import ScriptedCalls

from services.router.edge import Calls
from services.router.edges.door import Door
from services.router.edges.realtime import RealtimeEdge
from services.router.edges.settings import EdgeSettings
from services.router.edges.twilio import TwilioEdge

SETTINGS = EdgeSettings(send_timeout_s=0.3, first_message_s=2.0)


@dataclass
class HttpRouter:
    """A listening HTTP server with the WebSocket edges over scripted calls."""

    calls: ScriptedCalls
    port: int

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


async def serve_http(calls: Calls, door: Door, settings: EdgeSettings) -> tuple[web.AppRunner, int]:
    app = web.Application()
    RealtimeEdge(calls, door, settings).add_routes(app)
    TwilioEdge(calls, door, settings).add_routes(app)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]
