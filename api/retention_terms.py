"""What the operator, the project and a request say about retention, brought together."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.dependencies import Services
from api.schemas.retention import RetentionWishes
from styleflow.jobs import retention_policies
from styleflow.jobs.keeping import NOTHING_ASKED, Asked, House, Periods, Retention, agree
from styleflow.settings import Settings


def house(settings: Settings) -> House:
    """A default that lies beyond its maximum is the maximum: what is kept without being asked for may be asked for."""
    default = Retention(
        source_hours=settings.source_hours,
        crops_days=settings.crops_days,
        frames_days=settings.frames_days,
        results_days=settings.results_days,
        zero_minutes=settings.zero_retention_minutes,
    )
    return House(
        default=default,
        maximum=Periods(
            source_hours=max(settings.max_source_hours, default.source_hours),
            crops_days=max(settings.max_crops_days, default.crops_days),
            frames_days=max(settings.max_frames_days, default.frames_days),
            results_days=max(settings.max_results_days, default.results_days),
        ),
    )


def agree_on_retention(
    services: Services, session: Session, project_id: str, wishes: RetentionWishes | None, pointer: str
) -> Retention:
    """What holds for jobs of this request. Raises InvalidRequest."""
    project = retention_policies.asked(retention_policies.of_project(session, project_id))
    return agree(house(services.settings), project, asked(wishes), pointer)


def asked(wishes: RetentionWishes | None) -> Asked:
    return NOTHING_ASKED if wishes is None else Asked(**wishes.model_dump())
