"""Settings of every process: environment first, then a TOML file, then documented defaults; unknown keys are refused.

A field `slots` of the service `asr` is read from ``HALFBEAT_ASR_SLOTS``, else ``HALFBEAT_SLOTS``, else the table
``[asr]`` of the file, else the file's top level.
"""

import difflib
import json
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from halfbeat.errors import InvalidRequest

PREFIX = "HALFBEAT_"
SERVICES = ("router", "asr", "dialogue", "tts")


def inbox_prefix_of(user: str) -> str:
    """Returns what replies to a user of NATS begin with; its permissions name it, so nobody else reads them."""
    return f"_INBOX_{user}" if user else "_INBOX"


class NatsSettings(BaseModel):
    """How to reach the bus."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: str = Field("nats://127.0.0.1:4222", description="NATS server, or several separated by commas.")
    credentials: Path | None = Field(None, description="Credentials file (.creds) of this service's NATS user.")
    user: str = Field("", description="User name, when the server wants one.")
    password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    password_file: Path | None = Field(None, description="File that holds it, as Docker and Kubernetes mount secrets.")
    tls_ca: Path | None = Field(None, description="CA certificate to check the server with.")
    turns_max_age_s: float = Field(604_800, gt=0, description="Seconds that a new stream TURNS keeps a message.")
    replicas: int = Field(1, ge=1, le=5, description="Copies of new streams and buckets in a NATS cluster.")
    jetstream_domain: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]*$", description="JetStream domain of the streams, for a service at a leaf node."
    )
    inbox_prefix: str = Field(
        "", description="Subject prefix of replies to us; empty: `_INBOX_<user>`, or `_INBOX` without a user."
    )

    @property
    def shown_url(self) -> str:
        """The URL without user and password, for texts."""
        return re.sub(r"//[^@/,]*@", "//", self.url)

    def read_password(self) -> str:
        """Returns the password, from its file if one is named.

        Raises:
            InvalidRequest: the file cannot be read.
        """
        if self.password_file is None:
            return self.password.get_secret_value()
        try:
            return self.password_file.read_text().strip()
        except OSError as e:
            raise InvalidRequest(f"cannot read the password of NATS: {e.strerror}: {self.password_file}") from e

    @classmethod
    def from_environment(cls, **given: Any) -> Self:
        """Returns the settings that HALFBEAT_NATS_* say, for a process that is no service.

        Args:
            given: fields that win over the environment.

        Raises:
            InvalidRequest: a value is wrong.
        """
        told = {name: os.environ.get(f"{PREFIX}NATS_{name.upper()}") for name in cls.model_fields}
        try:
            return cls.model_validate({**{name: value for name, value in told.items() if value}, **given})
        except ValidationError as e:
            lines = [f"  {PREFIX}NATS_{'.'.join(map(str, x['loc'])).upper()}: {x['msg']}" for x in e.errors()]
            raise InvalidRequest("settings of NATS:\n" + "\n".join(lines)) from None


class ServiceSettings(BaseSettings):
    """What all four services have in common. Subclasses set `service` and add their own fields."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_nested_delimiter="_", env_nested_max_split=1)
    service: ClassVar[str] = ""

    nats: NatsSettings = Field(default_factory=lambda: NatsSettings(), description="How to reach the bus.")
    name: str = Field(default_factory=socket.gethostname, description="Name of this instance, in logs and traces.")
    http_host: str = Field("127.0.0.1", description="Address for /healthz, /readyz and /metrics.")
    http_port: int = Field(0, ge=0, le=65535, description="Port for them; 0 picks a free one.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least severe log line shown.")
    drain_s: float = Field(30.0, ge=0, description="On SIGTERM, how long running calls may go on, in seconds.")
    trace_pii: bool = Field(False, description="Put the caller's words into spans, as attributes named pii.*.")

    _file: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads the service's own variables before the common ones."""
        from pydantic_settings import EnvSettingsSource, InitSettingsSource

        own = EnvSettingsSource(settings_cls, env_prefix=f"{PREFIX}{cls.service.upper()}_")
        common = EnvSettingsSource(settings_cls, env_prefix=PREFIX)
        return init_settings, own, common, InitSettingsSource(settings_cls, init_kwargs=dict(cls._file))

    @classmethod
    def load(cls, file: Path | None = None) -> Self:
        """Reads the settings.

        Args:
            file: TOML file; the table named after the service wins over its top level.

        Raises:
            InvalidRequest: a value is wrong or a key is unknown; the text says which and what is near it.
        """
        cls._refuse_unknown_variables()
        values: dict[str, Any] = {}
        if file is not None:
            try:
                table = tomllib.loads(file.read_text())
            except (OSError, tomllib.TOMLDecodeError) as e:
                raise InvalidRequest(f"cannot read {file}: {e}") from e
            values = {k: v for k, v in table.items() if k not in SERVICES and k in cls.model_fields}
            values |= table.get(cls.service, {})
        cls._file = values
        try:
            return cls()
        except ValidationError as e:
            lines = [f"  {'.'.join(map(str, x['loc'])) or cls.service}: {x['msg']}" for x in e.errors()]
            raise InvalidRequest(f"settings of {cls.service}:\n" + "\n".join(lines)) from None
        finally:
            cls._file = {}

    @classmethod
    def _refuse_unknown_variables(cls) -> None:
        own = f"{PREFIX}{cls.service.upper()}_"
        known = {own + name.upper() for name in cls.model_fields}
        known |= {f"{own}NATS_{name.upper()}" for name in NatsSettings.model_fields}
        for variable in os.environ:
            if variable.startswith(own) and variable not in known:
                near = difflib.get_close_matches(variable, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InvalidRequest(f"unknown setting {variable}{hint}")

    def to_json(self) -> str:
        """Returns all settings as JSON, secrets masked."""
        return json.dumps(self.model_dump(mode="json"), indent=2)

    @classmethod
    def describe(cls) -> str:
        """Returns a table of every setting: variable, default, meaning."""
        rows = []
        for name, field in cls.model_fields.items():
            if name == "nats":
                rows += [cls._describe(f"nats_{n}", f) for n, f in NatsSettings.model_fields.items()]
            else:
                rows.append(cls._describe(name, field))
        return "\n".join(rows)

    @classmethod
    def _describe(cls, name: str, field: FieldInfo) -> str:
        default = "" if field.default_factory or field.default is None else f" [{field.default}]"
        return f"  {PREFIX}{cls.service.upper()}_{name.upper():<22} {field.description or ''}{default}"
