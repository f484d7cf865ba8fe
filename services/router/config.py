"""Settings of the router."""

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from halfbeat.settings import ServiceSettings
from services.router.edge import Cleaning
from services.router.endpoint import EndpointSettings, VoiceSettings
from services.router.floor_events import FloorSettings
from services.router.overlap import OverlapSettings


class RouterSettings(ServiceSettings):
    """What can be set; every time has its unit in its name."""

    service: ClassVar[str] = "router"

    http_port: int = Field(8080, ge=0, le=65535, description="Port of HTTP: health, the page, Realtime and Twilio.")
    grpc_host: str = Field("127.0.0.1", description="Address of gRPC.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="Port of gRPC; 0 picks a free one.")
    api_keys: tuple[SecretStr, ...] = Field((), description="Bearer keys of clients; none leaves the door open.")
    allow_open: bool = Field(False, description="Listen beyond this machine without keys: something else guards it.")
    twilio_auth_token: SecretStr = Field(SecretStr(""), description="Checks the signature of Twilio's requests.")
    twilio_url: str = Field("", description="Public URL of /twilio/media as Twilio calls it.")
    max_connections: int = Field(200, ge=1, description="Connections at a time, all edges together.")

    slots: int = Field(100, ge=1, description="Calls at a time; one more is refused at capacity.")
    application: str = Field("", description="Application of calls that name none; empty: dialogue's default.")
    open_attempts: int = Field(10, ge=1, le=50, description="Workers asked, full ones too, before a call is refused.")
    open_timeout_s: float = Field(5.0, gt=0, description="Longest time to place a call, all attempts together.")
    worker_timeout_s: float = Field(3.0, gt=0, description="A worker that is silent for this long is lost.")
    lease_s: float = Field(15.0, ge=3, description="Life of a session's ownership record unless renewed.")
    budget_ms: int = Field(600, ge=0, description="Latency budget of a turn, from voice to voice.")

    voice_detector: Literal["silero-vad", "loudness"] = Field(
        "silero-vad", description="Tells voice from silence: silero-vad, or loudness (tests: needs no model)."
    )
    turn_detector: str = Field("smart-turn-v3", description='Model that hears the end of a turn, or "none".')
    turn_deadline_s: float = Field(0.6, gt=0, description="Longest wait for its opinion; silence decides then.")
    vad_start: float = Field(0.5, gt=0, lt=1, description="Probability from which a window of 32 ms begins speech.")
    vad_stop: float = Field(0.35, gt=0, lt=1, description="Probability down to which speech goes on.")
    min_voice_ms: int = Field(64, ge=32, description="Voice in a row that begins speech; clicks are shorter.")
    pause_ms: int = Field(80, ge=64, description="Silence of the eager endpoint: the words are asked for.")
    turn_threshold: float = Field(0.87, gt=0, lt=1, description="Probability of the end at which a turn is over.")
    sure_ms: int = Field(150, ge=120, description="Silence that ends a turn when that is quite sure; less feels rude.")
    hesitation_ms: int = Field(200, ge=0, description="So much more silence it takes when that is only just sure.")
    unsure_ms: int = Field(1500, ge=200, description="Silence that ends a turn in any case.")
    ask_ms: int = Field(120, ge=64, description="Silence at which the turn detector's model is asked.")
    ask_again_ms: int = Field(300, ge=64, description="Silence at which the turn detector's model is asked once more.")
    wait_s: float = Field(10.0, gt=0, description='Silence that ends a turn after "hold on" and the like.')
    speculates: bool = Field(True, description="Ask for a draft of the answer before the turn is known to be over.")
    draft_probability: float = Field(0.2, ge=0, le=1, description="Probability of the end that is worth a draft.")
    max_drafts: int = Field(4, ge=0, description="Drafts in one turn.")
    max_turn_ms: int = Field(30_000, ge=2000, description="Longest turn of a caller who never pauses.")
    duck_db: float = Field(15.0, ge=0, description="How much quieter the agent is while the caller makes a sound.")
    mute_ms: int = Field(120, ge=32, description="Voice over the agent's speech that mutes it, for the time being.")
    barge_in_ms: int = Field(280, ge=64, description="Voice with a word in it that stops the agent.")
    wordless_ms: int = Field(720, ge=64, description="Voice that stops the agent before any word of it is known.")
    backchannel_ms: int = Field(900, ge=64, description='"Mm-hm" and the like stop it only when longer than this.')
    echo_guard_ms: int = Field(
        400, ge=0, description="How long an answer may hear its own echo where nothing cancels it: no ducking."
    )
    cleaning: Cleaning = Field(
        Cleaning.ECHO, description="Taken out of what callers send, at most: nothing, noise, or echo (and noise)."
    )
    suppresses: bool = Field(True, description="Clean by the neural network too, not by the linear filter alone.")
    resume_ms: int = Field(160, ge=32, description="Voice that reopens a turn before its answer sounds.")
    resume_grace_ms: int = Field(3000, ge=0, description="How long a turn may be reopened before its answer sounds.")
    pre_roll_ms: int = Field(300, ge=0, description="Audio before the first voice that is recognised with it.")
    answer_timeout_s: float = Field(20.0, gt=0, description="Longest time an answer makes no progress.")
    silence_prompt_s: float = Field(7.0, ge=0, description="A silent caller is asked after this; again; 0: never.")
    idle_s: float = Field(75.0, gt=0, description="A call in which nobody says anything ends after this.")
    max_call_s: float = Field(1800.0, gt=0, description="Longest call.")

    def voice(self) -> VoiceSettings:
        """Returns the thresholds of voice activity."""
        return VoiceSettings(self.vad_start, self.vad_stop, self.min_voice_ms, self.pause_ms)

    def endpoint(self) -> EndpointSettings:
        """Returns when a pause ends the turn."""
        return EndpointSettings(
            threshold=self.turn_threshold,
            sure_ms=self.sure_ms,
            hesitation_ms=self.hesitation_ms,
            unsure_ms=self.unsure_ms,
            ask_ms=self.ask_ms,
            ask_again_ms=self.ask_again_ms,
            wait_s=self.wait_s,
            max_turn_ms=self.max_turn_ms,
        )

    def floor(self, language: str = "") -> FloorSettings:
        """Returns how the floor changes hands in a call of this language."""
        return FloorSettings(
            pause_ms=self.pause_ms,
            pre_roll_ms=self.pre_roll_ms,
            overlap=OverlapSettings(
                mute_ms=self.mute_ms,
                barge_in_ms=self.barge_in_ms,
                wordless_ms=self.wordless_ms,
                backchannel_ms=self.backchannel_ms,
                guard_ms=self.echo_guard_ms,
            ),
            resume_ms=self.resume_ms,
            resume_grace_ms=self.resume_grace_ms,
            speculates=self.speculates,
            draft_probability=self.draft_probability,
            max_drafts=self.max_drafts,
            answer_timeout_s=self.answer_timeout_s,
            silence_prompt_s=self.silence_prompt_s,
            idle_s=self.idle_s,
            max_call_s=self.max_call_s,
            language=language or "en",
        )
