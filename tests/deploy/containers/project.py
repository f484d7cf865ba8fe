"""Docker and Compose by their command lines, as a person uses them."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from deploy_tools import ROOT, free_port

#: Image and Dockerfile.
IMAGES = {
    "router": "services/router/Dockerfile",
    "asr": "services/asr/Dockerfile",
    "dialogue": "services/dialogue/Dockerfile",
    "tts": "services/tts/Dockerfile",
    "llm": "services/dialogue/llm.Dockerfile",
}
VERSION = "0.1.0"


def docker(
    *arguments: str, check: bool = True, timeout_s: float = 600, **more: Any
) -> "subprocess.CompletedProcess[str]":
    """Runs docker; its words are in the error when it fails."""
    command = ["docker", *arguments]
    try:
        told = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout_s, errors="replace", **more
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "no docker command here")
    if check and told.returncode != 0:
        raise AssertionError(f"{' '.join(command)}\n{told.stdout[-3000:]}\n{told.stderr[-3000:]}")
    return told


def build(name: str) -> str:
    """Builds an image from its Dockerfile as it is; returns its tag."""
    tag = f"halfbeat/{name}:{VERSION}"
    docker(
        "build", "--quiet", "--network=host", "--pull=false", "--file", IMAGES[name], "--tag", tag, ".",
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )  # fmt: skip
    return tag


def ports() -> dict[str, str]:
    """Free ports of this machine for the router."""
    return {"HALFBEAT_ROUTER_HTTP_PORT": str(free_port()), "HALFBEAT_ROUTER_GRPC_PORT": str(free_port())}


def eventually(what: str, is_so: Callable[[], object], timeout_s: float = 30.0) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.2)


class Project:
    """One compose project, up while it is entered; gone with its volumes afterwards."""

    def __init__(
        self, name: str, files: Sequence[str], environment: Mapping[str, str], services: Sequence[str] = ()
    ) -> None:
        self.name, self.files, self.services = name, files, services
        self.environment = {**os.environ, **environment}
        self.http_url = f"http://127.0.0.1:{environment['HALFBEAT_ROUTER_HTTP_PORT']}"
        self.grpc_target = f"127.0.0.1:{environment['HALFBEAT_ROUTER_GRPC_PORT']}"

    def compose(
        self, *arguments: str, check: bool = True, timeout_s: float = 600
    ) -> "subprocess.CompletedProcess[str]":
        """Runs `docker compose` on this project."""
        files = [argument for file in self.files for argument in ("--file", file)]
        given = ("compose", "--project-name", self.name, *files, *arguments)
        return docker(*given, check=check, timeout_s=timeout_s, env=self.environment)

    def __enter__(self) -> Self:
        told = self.compose("up", "--wait", "--no-build", *self.services, check=False)
        if told.returncode != 0:
            logs = self.compose("logs", "--tail", "20", check=False).stdout
            self.__exit__()
            raise AssertionError(f"up --wait failed\n{told.stderr[-3000:]}\n{logs[-6000:]}")
        return self

    def __exit__(self, *exc: object) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5", check=False)

    def container(self, service: str) -> str:
        """The container of a service, by id."""
        return self.compose("ps", "--all", "--quiet", service).stdout.strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What Docker knows about a service's container."""
        found: dict[str, Any] = json.loads(docker("inspect", self.container(service)).stdout)[0]
        return found

    def health(self, service: str) -> str:
        """starting, healthy or unhealthy."""
        return str(self.inspect(service)["State"].get("Health", {}).get("Status", ""))

    def wait_healthy(self, *services: str, timeout_s: float = 60.0) -> None:
        """Waits until all these are healthy."""
        for service in services:
            eventually(f"{service} is healthy", lambda s=service: self.health(s) == "healthy", timeout_s)  # type: ignore[misc]

    def kill(self, service: str) -> None:
        """Kills the process as a crash does. `docker kill` would count as a wish that it stays dead."""
        os.kill(int(self.inspect(service)["State"]["Pid"]), signal.SIGKILL)

    def run_in(self, service: str, *command: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Runs a command in a service's container."""
        return docker("exec", self.container(service), *command, check=check, timeout_s=60)

    def get(self, path: str) -> str:
        """The router's answer to GET."""
        with urllib.request.urlopen(self.http_url + path, timeout=5) as answer:
            return str(answer.read().decode())

    def bus_network(self) -> str:
        """The network that only containers are on."""
        return f"{self.name}_bus"
