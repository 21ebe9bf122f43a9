"""Named thresholds of a project, revision by revision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from styleflow.errors import NotFound, PreconditionFailed, PreconditionRequired, UnknownPolicy
from styleflow.policy_tables import PolicyRow
from styleflow.report import Thresholds

DEFAULT = "default"
"""The pack's own thresholds: a name that no project can give to others."""


def label(row: PolicyRow) -> str:
    """As a result cites it: `name@revision`."""
    return f"{row.name}@{row.revision}"


def thresholds_of(row: PolicyRow) -> Thresholds:
    return Thresholds(policy=label(row), weak=row.weak, suspicious=row.suspicious, strong=row.strong)


def snapshot(thresholds: Thresholds) -> dict[str, Any]:
    """As it is kept with a job and shown in a result."""
    return {
        "policy": thresholds.policy,
        "weak": thresholds.weak,
        "suspicious": thresholds.suspicious,
        "strong": thresholds.strong,
    }


def newest(session: Session, project_id: str, name: str) -> PolicyRow:
    """Raises NotFound."""
    row = _newest(session, project_id, name)
    if row is None:
        raise NotFound("The project has no policy of that name.")
    return row


def get_revision(session: Session, project_id: str, name: str, revision: int) -> PolicyRow:
    """Raises NotFound."""
    row = session.get(PolicyRow, (project_id, name, revision))
    if row is None:
        raise NotFound("The policy has no such revision.")
    return row


def chosen(session: Session, project_id: str, name: str) -> PolicyRow | None:
    """The newest revision for a job that names it; None for the pack's own. Raises UnknownPolicy."""
    if name == DEFAULT:
        return None
    row = _newest(session, project_id, name)
    if row is None:
        raise UnknownPolicy(f"The project has no policy {name!r}.")
    return row


def list_newest(session: Session, project_id: str) -> Sequence[PolicyRow]:
    """The newest revision of each policy, by name."""
    return session.scalars(
        select(PolicyRow)
        .where(PolicyRow.project_id == project_id)
        .ext(distinct_on(PolicyRow.name))
        .order_by(PolicyRow.name, PolicyRow.revision.desc())
    ).all()


def list_revisions(session: Session, project_id: str, name: str, limit: int, before: int | None) -> list[PolicyRow]:
    """Newest first, below revision `before`. Raises NotFound for a policy that does not exist."""
    newest(session, project_id, name)
    wanted = select(PolicyRow).where(PolicyRow.project_id == project_id, PolicyRow.name == name)
    if before is not None:
        wanted = wanted.where(PolicyRow.revision < before)
    return list(session.scalars(wanted.order_by(PolicyRow.revision.desc()).limit(limit)))


def put(
    session: Session,
    project_id: str,
    name: str,
    thresholds: Thresholds,
    description: str,
    expected: int | None,
    *,
    only_new: bool = False,
) -> PolicyRow:
    """The next revision. `expected` is the revision that the caller has seen, None for a policy that is new to them;
    with `only_new` there must be none yet.

    Two who change at once: the second is told. Raises PreconditionRequired and PreconditionFailed.
    """
    session.execute(
        text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"policy {project_id} {name}"}
    )
    current = session.scalar(
        select(func.max(PolicyRow.revision)).where(PolicyRow.project_id == project_id, PolicyRow.name == name)
    )
    if only_new and current is not None:
        raise PreconditionFailed("There is a policy of that name already.")
    if current is not None and expected is None:
        raise PreconditionRequired
    if expected is not None and expected != current:
        raise PreconditionFailed
    row = PolicyRow(
        project_id=project_id,
        name=name,
        revision=(current or 0) + 1,
        weak=thresholds.weak,
        suspicious=thresholds.suspicious,
        strong=thresholds.strong,
        description=description,
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    return row


def _newest(session: Session, project_id: str, name: str) -> PolicyRow | None:
    return session.scalars(
        select(PolicyRow)
        .where(PolicyRow.project_id == project_id, PolicyRow.name == name)
        .order_by(PolicyRow.revision.desc())
        .limit(1)
    ).one_or_none()
