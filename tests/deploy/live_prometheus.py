"""A Prometheus of the test's own that looks at given targets once a second."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from deploy_tools import free_port, serving


class Prometheus:
    """One that runs. Every method raises what went wrong with what it was asked."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(self, path: str, **parameters: Any) -> Any:
        """Returns the data of an answer of its HTTP API."""
        async with self._session.post(f"{self._url}/api/v1/{path}", data=parameters) as response:
            told = await response.json()
        assert told["status"] == "success", f"{parameters}: {told.get('error')}"
        return told["data"]

    async def ask_get(self, path: str, **parameters: Any) -> Any:
        """The same for what is only answered to GET."""
        async with self._session.get(f"{self._url}/api/v1/{path}", params=parameters) as response:
            told = await response.json()
        assert told["status"] == "success", f"{parameters}: {told.get('error')}"
        return told["data"]

    async def troubles(self) -> dict[str, str]:
        """Returns what is wrong with targets, by job; those not looked at yet are "unknown"."""
        targets = (await self.ask_get("targets"))["activeTargets"]
        return {t["labels"]["job"]: t["lastError"] or t["health"] for t in targets if t["health"] != "up"}

    async def until_all_are_seen(self, jobs: Collection[str]) -> None:
        """Returns once every job was looked at; Prometheus begins some seconds after its start."""
        for _ in range(200):
            seen = {t["labels"]["job"] for t in (await self.ask_get("targets"))["activeTargets"]}
            if seen == set(jobs) and not await self.troubles():
                return
            await asyncio.sleep(0.1)
        pytest.fail(f"Prometheus does not see its targets: {await self.troubles()}")


@asynccontextmanager
async def running(folder: Path, targets: Mapping[str, str], labels: Mapping[str, str]) -> AsyncIterator[Prometheus]:
    """Starts one and waits until it answers.

    Args:
        folder: for its data.
        targets: host:port by job.
        labels: that every series gets.
    """
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [target], "labels": dict(labels)}]}
        for job, target in targets.items()
    ]
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    arguments = (
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--enable-feature=exemplar-storage",
        "--query.lookback-delta=10s",
    )
    address = f"127.0.0.1:{free_port()}"
    async with (
        serving("prometheus", address, *arguments, folder=folder) as url,
        aiohttp.ClientSession() as session,
    ):
        yield Prometheus(session, url)
