"""Reports of potholes, dark street lights and the like, with a reference the caller can keep."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from rapidfuzz import fuzz, process
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from apps.city311.bookings import new_ref
from apps.city311.database import insert_once
from apps.city311.directory import StreetFound, resolve_street
from apps.city311.models import IssueKind, IssueReport, Street

#: A caller's words that fit no kind better than this (percent) are filed as OTHER.
LEAST_KIND_SCORE = 80.0
#: From here on (percent) a street in a description is meant: its name and kind are right to the letter or nearly so.
SURE_SCORE = 95.0
_REF_TRIES = 5
_LONGEST_DESCRIPTION = 2000
_LONGEST_LOCATION = 200

_KINDS = {
    "pothole": IssueKind.POTHOLE,
    "pot hole": IssueKind.POTHOLE,
    "hole in the road": IssueKind.POTHOLE,
    "street light": IssueKind.STREET_LIGHT,
    "streetlight": IssueKind.STREET_LIGHT,
    "lamp post": IssueKind.STREET_LIGHT,
    "graffiti": IssueKind.GRAFFITI,
    "spray paint": IssueKind.GRAFFITI,
    "illegal dumping": IssueKind.ILLEGAL_DUMPING,
    "dumped mattress": IssueKind.ILLEGAL_DUMPING,
    "fallen tree": IssueKind.FALLEN_TREE,
    "tree down": IssueKind.FALLEN_TREE,
    "tree branch": IssueKind.FALLEN_TREE,
    "water leak": IssueKind.WATER_LEAK,
    "water main break": IssueKind.WATER_LEAK,
    "burst pipe": IssueKind.WATER_LEAK,
    "hydrant leak": IssueKind.WATER_LEAK,
    "traffic light": IssueKind.TRAFFIC_SIGNAL,
    "traffic signal": IssueKind.TRAFFIC_SIGNAL,
    "stop sign": IssueKind.TRAFFIC_SIGNAL,
    "sidewalk": IssueKind.SIDEWALK,
    "noise": IssueKind.NOISE,
    "loud music": IssueKind.NOISE,
    "abandoned vehicle": IssueKind.ABANDONED_VEHICLE,
    "abandoned car": IssueKind.ABANDONED_VEHICLE,
}


@dataclass(frozen=True)
class IssueReceipt:
    """A report on file.

    Attributes:
        ref: What the caller is told, such as IR-731904.
        kind: What it was filed as.
        location: Where, in the caller's words.
        street: The street's own name, where it was recognised in them.
        is_repeat: True where it was on file before; nothing was written now.
    """

    ref: str
    kind: IssueKind
    location: str
    street: str | None = None
    is_repeat: bool = False


def issue_kind(words: str) -> IssueKind:
    """The kind of issue that a caller's words mean; OTHER where none fits."""
    text = words.lower().replace("_", " ").strip()
    best = process.extractOne(text, _KINDS.keys(), scorer=fuzz.partial_ratio, score_cutoff=LEAST_KIND_SCORE)
    return IssueKind.OTHER if best is None or len(text) < 4 else _KINDS[best[0]]


async def report_issue(
    session: AsyncSession,
    *,
    key: str,
    kind: str,
    description: str,
    location: str,
    now: datetime,
    phone: str | None = None,
) -> IssueReceipt:
    """File a report; the same key returns the first one.

    Args:
        session: A transaction that may write.
        key: Idempotency key of the request.
        kind: What it is, in the caller's words.
        description: What the caller said of it; cut at 2,000 characters.
        location: Where, in the caller's words, or the caller's address; cut at 200 characters. A street that the
            description names beyond doubt is taken instead: "there's a pothole on Main Street".
        now: The present time.
        phone: Who reports, E.164.
    """
    filed = await find_report(session, IssueReport.idempotency_key == key)
    if filed is not None:
        return replace(filed, is_repeat=True)
    filed_as = issue_kind(kind)
    if filed_as is IssueKind.OTHER:
        filed_as = issue_kind(description)
    place, street_id = await _place(session, location, description)
    for _ in range(_REF_TRIES):
        ref = new_ref("IR")
        is_new = await insert_once(
            session,
            IssueReport,
            ref=ref,
            idempotency_key=key,
            kind=filed_as,
            description=description.strip()[:_LONGEST_DESCRIPTION],
            location=place,
            street_id=street_id,
            phone=phone,
            created_at=now,
        )
        filed = await find_report(session, IssueReport.idempotency_key == key)
        if filed is not None:
            return replace(filed, is_repeat=not is_new)
        # Neither written nor found: the reference was taken. Draw another one.
    raise RuntimeError("no free report reference")


async def _place(session: AsyncSession, location: str, description: str) -> tuple[str, int | None]:
    """Where it is, and the street's id where one was recognised."""
    described = await resolve_street(session, description, SURE_SCORE)
    found = await resolve_street(session, location)
    if isinstance(described, StreetFound) and described != found:
        return described.street, described.street_id
    street_id = found.street_id if isinstance(found, StreetFound) else None
    return location.strip()[:_LONGEST_LOCATION], street_id


async def find_report(session: AsyncSession, condition: ColumnElement[bool]) -> IssueReceipt | None:
    """The report that fulfils a condition on `IssueReport`."""
    row = (
        await session.execute(
            select(IssueReport.ref, IssueReport.kind, IssueReport.location, Street.name)
            .outerjoin(Street, IssueReport.street_id == Street.id)
            .where(condition)
        )
    ).first()
    return None if row is None else IssueReceipt(*row)
