"""What is served, and every ceiling: `/v1/models`, `/v1/limits`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from api import rate_limits
from api.answers import ok
from api.auth import MAY_READ_JOBS, JobsReader
from api.dependencies import MAX_WAIT_SECONDS, ServicesDep
from api.documented import WITH_KEY, problems
from api.evidence import MAX_FRAMES
from api.pages import MAX_LIMIT
from api.schemas.batches import MAX_IN_FLIGHT, MAX_INLINE_ITEMS
from api.schemas.jobs import MAX_METADATA_BYTES, MAX_TAGS
from api.schemas.models import Limits, Model, ModelList
from api.schemas.projects import quota_body
from api.upload_rows import waiting_hours
from styleflow import quotas
from styleflow.errors import NotFound, UnknownModel
from styleflow.exports.queries import MAX_OPEN
from styleflow.packs import Catalog, Pack

router = APIRouter(prefix="/v1", tags=["models"])


def model_body(pack: Pack, catalog: Catalog) -> Model:
    card = pack.card
    shown = card.model_dump(mode="json")
    return Model(
        id=card.model,
        name=card.name,
        version=card.version,
        default=catalog.default is not None and catalog.default.card.model == card.model,
        size=card.size,
        components=shown["components"],
        weights=[shown["weights"]],
        preprocessing=shown["preprocessing"],
        calibration=shown["calibration"],
        calibrated=card.calibration is not None,
        training=shown["training"],
        sources=shown["sources"],
        licences=shown["licences"],
        created_at=card.created,
    )


@router.get(
    "/models",
    operation_id="listModels",
    summary="List the models that are served",
    response_model=ModelList,
    responses=problems(*WITH_KEY),
    dependencies=[MAY_READ_JOBS],
)
async def list_models(services: ServicesDep) -> Response:
    """A model that is not calibrated gives evidence, and no score."""
    return ok(ModelList(data=[model_body(pack, services.catalog) for pack in services.catalog.packs]))


@router.get(
    "/models/{name}",
    operation_id="getModel",
    summary="Read everything about one model",
    response_model=Model,
    responses=problems(*WITH_KEY, "not_found"),
    dependencies=[MAY_READ_JOBS],
)
async def read_model(name: str, services: ServicesDep) -> Response:
    """`name@version`, or `styleflow@default`: weights with their SHA-256, calibration, training, licences."""
    try:
        pack = services.catalog.resolve(name)
    except UnknownModel as error:
        raise NotFound(str(error), served=error.details.get("served", ())) from error
    return ok(model_body(pack, services.catalog))


@router.get(
    "/limits",
    operation_id="getLimits",
    summary="Read every ceiling of this installation",
    response_model=Limits,
    responses=problems(*WITH_KEY),
)
def read_limits(principal: JobsReader, services: ServicesDep) -> Response:
    """For programs that would rather know than try: sizes, requests a minute (what is not named has no limit),
    and the project's own quotas with what is used of them.
    """
    settings = services.settings
    with services.database.transaction() as session:
        held = quotas.all_standings(session, principal.project_id, services.quotas)
    policies = [policy for method in ("GET", "POST") for policy in rate_limits.policies(settings, method) if policy]
    return ok(
        Limits(
            max_body_bytes=settings.max_body_bytes,
            max_upload_bytes=min(settings.max_upload_bytes, settings.max_media_bytes),
            max_media_bytes=settings.max_media_bytes,
            max_media_seconds=settings.max_media_seconds,
            max_wait_seconds=MAX_WAIT_SECONDS,
            max_tags=MAX_TAGS,
            max_metadata_bytes=MAX_METADATA_BYTES,
            max_client_ref_characters=256,
            max_inline_items=MAX_INLINE_ITEMS,
            max_in_flight=MAX_IN_FLIGHT,
            max_open_exports=MAX_OPEN,
            max_page=MAX_LIMIT,
            max_frames_page=MAX_FRAMES,
            max_attempts=settings.max_attempts,
            idempotency_hours=settings.idempotency_hours,
            upload_hours=waiting_hours(settings.source_hours),
            retention={
                "source_hours": settings.source_hours,
                "crops_days": settings.crops_days,
                "frames_days": settings.frames_days,
                "results_days": settings.results_days,
                "events_days": settings.events_days,
                "exports_days": settings.exports_days,
                "audit_days": settings.audit_days,
                "max_source_hours": settings.max_source_hours,
                "max_crops_days": settings.max_crops_days,
                "max_frames_days": settings.max_frames_days,
                "max_results_days": settings.max_results_days,
                "zero_retention_minutes": settings.zero_retention_minutes,
            },
            requests_per_minute={policy.name: policy.quota for policy in policies},
            quotas=[quota_body(one) for one in held],
        )
    )
