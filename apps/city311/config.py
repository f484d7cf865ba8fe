"""Settings of the city's data: where it lives, the city's calendar, how texts are delivered."""

from __future__ import annotations

import difflib
import os
from datetime import time
from pathlib import Path
from typing import Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "HALFBEAT_CITY311_"


def state_folder() -> Path:
    """Where halfbeat keeps state on this machine: `$HALFBEAT_STATE`, by default in the user's state folder."""
    if folder := os.environ.get("HALFBEAT_STATE"):
        return Path(folder)
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "halfbeat"


class City311Settings(BaseSettings):
    """Read from `HALFBEAT_CITY311_*`; unknown keys are refused, values cannot be changed afterwards."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL, `sqlite+aiosqlite:///PATH` or `postgresql+asyncpg://USER:PASSWORD@HOST/NAME`"
        " (plain `sqlite:` and `postgresql:` are understood too). Default: a SQLite file in the state folder.",
    )
    demo_data: bool | None = Field(
        default=None,
        description="Whether to fill in the demonstration city, with a missed pickup on Oak Street every day."
        " Default: only where no database_url is set.",
    )
    time_zone: str = Field(
        default="America/New_York", description="The city's IANA time zone: what `today` and `tomorrow` mean."
    )
    phone_region: str = Field(
        default="US", min_length=2, max_length=2, description="Region of numbers given without a country code."
    )
    pickup_window_start: time = Field(default=time(8), description="When a truck's window opens, city time.")
    pickup_window_end: time = Field(default=time(12), description="When a truck's window closes, city time.")
    pickup_horizon_days: int = Field(default=7, ge=1, le=60, description="How many days ahead a truck can be booked.")
    miss_open_days: int = Field(
        default=3, ge=0, le=30, description="For how many days after a missed pickup a truck can be booked."
    )

    texts: Literal["log", "twilio"] = Field(
        default="log", description="Who delivers texts: `log` appends them to a local file, `twilio` sends them."
    )
    texts_log: Path | None = Field(
        default=None, description="File of the `log` provider. Default: `texts.jsonl` in the state folder."
    )
    twilio_base_url: str = Field(default="https://api.twilio.com", description="Twilio's API, no trailing slash.")
    twilio_account_sid: str | None = Field(default=None, description="Twilio account (`AC...`).")
    twilio_auth_token: SecretStr | None = Field(default=None, description="Twilio auth token or API key secret.")
    twilio_api_key_sid: str | None = Field(
        default=None, description="Twilio API key (`SK...`); with it, `twilio_auth_token` is the key's secret."
    )
    twilio_from: str | None = Field(default=None, description="Sender's number, E.164.")
    twilio_messaging_service_sid: str | None = Field(
        default=None, description="Messaging service (`MG...`) that picks the sender, instead of `twilio_from`."
    )
    twilio_timeout_s: float = Field(default=10.0, gt=0, le=60, description="Time limit of one request.")

    outbox_poll_s: float = Field(default=1.0, gt=0, description="How often the outbox is read when nothing wakes it.")
    outbox_batch: int = Field(default=10, ge=1, le=100, description="Texts claimed at a time.")
    outbox_claim_s: float = Field(
        default=60.0, gt=0, description="How long a claim holds; after that another worker may take the text."
    )
    outbox_max_attempts: int = Field(default=8, ge=1, description="Attempts until a text is given up.")
    outbox_backoff_s: float = Field(
        default=2.0, gt=0, description="Wait after the first failure; doubles with each one, up to 5 minutes."
    )

    @model_validator(mode="before")
    @classmethod
    def _knows_every_variable(cls, values: object) -> object:
        known = {PREFIX + name.upper() for name in cls.model_fields}
        for variable in os.environ:
            if variable.startswith(PREFIX) and variable not in known:
                near = difflib.get_close_matches(variable, known, n=1)
                raise ValueError(f"unknown setting {variable}" + (f"; did you mean {near[0]}?" if near else ""))
        return values

    @field_validator("time_zone")
    @classmethod
    def _time_zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(f"no such time zone: {name}") from error
        return name

    @field_validator("twilio_base_url")
    @classmethod
    def _no_trailing_slash(cls, url: str) -> str:
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.pickup_window_start >= self.pickup_window_end:
            raise ValueError("pickup_window_start must be before pickup_window_end")
        if self.texts == "twilio":
            missing = [name for name in ("twilio_account_sid", "twilio_auth_token") if getattr(self, name) is None]
            if missing:
                raise ValueError(f"texts=twilio needs {', '.join(missing)}")
            if (self.twilio_from is None) == (self.twilio_messaging_service_sid is None):
                raise ValueError("texts=twilio needs one of twilio_from and twilio_messaging_service_sid")
            if self.outbox_claim_s <= 2 * self.twilio_timeout_s:
                raise ValueError("outbox_claim_s must be more than twice twilio_timeout_s")
        return self

    @property
    def url(self) -> str:
        """The database's URL with an async driver in it. It may hold a password: never log it."""
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{state_folder() / 'city311.db'}"
        url = self.database_url.get_secret_value()
        for plain, driver in (
            ("sqlite:", "sqlite+aiosqlite:"),
            ("postgresql:", "postgresql+asyncpg:"),
            ("postgres:", "postgresql+asyncpg:"),
        ):
            if url.startswith(plain):
                return driver + url.removeprefix(plain)
        return url

    @property
    def has_demo_data(self) -> bool:
        """Whether the demonstration city is filled in."""
        return self.database_url is None if self.demo_data is None else self.demo_data

    @property
    def texts_log_path(self) -> Path:
        """Where the `log` provider appends."""
        return self.texts_log or state_folder() / "texts.jsonl"

    @property
    def zone(self) -> ZoneInfo:
        """The city's time zone."""
        return ZoneInfo(self.time_zone)
