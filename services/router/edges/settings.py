"""What the edges must know; `services.router.config` fills it from the environment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Limits of the edges.

    Attributes:
        send_timeout_s: how long a client may read nothing before it is cut off.
        heartbeat_s: how often a WebSocket's peer is pinged; no answer within half of it means it is gone.
        first_message_s: how long a fresh connection may stay silent.
        max_call_s: longest call.
        twilio_auth_token: checks `X-Twilio-Signature`; empty accepts no Twilio call from beyond this machine.
        twilio_url: public URL of /twilio/media as Twilio calls it; empty derives it from the request.
    """

    send_timeout_s: float = 5.0
    heartbeat_s: float = 20.0
    first_message_s: float = 30.0
    max_call_s: float = 3600.0
    twilio_auth_token: str = ""
    twilio_url: str = ""
