"""Every error that this project raises on purpose, in one tree.

    StyleFlowError
    ├── RequestError               the caller can mend it; api/problems.py gives it a status
    │   ├── InvalidRequest, MalformedJson, UnsupportedMediaType, PayloadTooLarge, BodyStalled,
    │   ├── NotAcceptable, CursorMismatch
    │   ├── Unauthenticated, KeyInQuery, ForbiddenScope, SourceNotAllowed, NotFound, Erased
    │   ├── IdempotencyMismatch, IdempotencyInProgress, ResultNotReady, NotRetryable
    │   ├── UploadMismatch, UnknownModel, QuotaExceeded, BacklogFull
    ├── JobError                   ends an attempt; `retryable` says whether trying again could help
    │   ├── MediaError             ContainerUnsupported, CodecUnsupported, CorruptMedia, TooLarge, TooLong,
    │   │                          ResolutionLimit, DecoderCrash, DecodeTimeout
    │   ├── SourceError            SourceNotFound, SourceForbidden, SourceChanged, SourceUnavailable,
    │   │                          BlockedAddress
    │   └── StorageUnavailable, DependencyUnavailable, ModelUnavailable, GpuOutOfMemory, WorkerLost,
    │       Poison, DeadlineExceeded
    ├── PackError                  a weights pack that must not be served
    ├── ConfigurationError         a setting or an installation that cannot work
    └── LeaseLost, Cancelled, Released    how a running attempt stops without an outcome of its own

`code` is stable and documented in docs/api/errors.md; the message is written for the caller, holds no path
of the server and no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class StyleFlowError(Exception):
    """Base of the tree. `str(error)` is the message shown to the caller."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message or (type(self).__doc__ or type(self).code).strip())
        self.details: Mapping[str, Any] = details


# --- requests -------------------------------------------------------------------------------------


class RequestError(StyleFlowError):
    """The request cannot be carried out as it stands."""

    code = "invalid_request"


class InvalidRequest(RequestError):
    """The body or a parameter does not fit. `errors` holds (pointer, code, message) mappings."""


class MalformedJson(RequestError):
    """The body is not JSON."""

    code = "malformed_json"


class UnsupportedMediaType(RequestError):
    """The body's Content-Type is not accepted here."""

    code = "unsupported_media_type"


class NotAcceptable(RequestError):
    """Nothing that this address writes is among what the caller accepts."""

    code = "not_acceptable"


class MethodNotAllowed(RequestError):
    """This address does not take that method."""

    code = "method_not_allowed"


class PayloadTooLarge(RequestError):
    """The body is larger than this address takes."""

    code = "payload_too_large"


class BodyStalled(RequestError):
    """The body stopped arriving before its end."""

    code = "request_timeout"
    retryable = True


class CursorMismatch(RequestError):
    """The cursor is expired, altered, or belongs to another query."""

    code = "cursor_mismatch"


class Unauthenticated(RequestError):
    """No valid API key was given."""

    code = "unauthenticated"


class KeyInQuery(RequestError):
    """An API key was sent in the address."""

    code = "key_in_query"


class ForbiddenScope(RequestError):
    """The API key lacks the scope that this call needs."""

    code = "forbidden_scope"


class SourceNotAllowed(RequestError):
    """The bucket or host of the source is not on the allow-list."""

    code = "source_not_allowed"


class NotFound(RequestError):
    """Nothing of that id is visible to this API key."""

    code = "not_found"


class Erased(RequestError):
    """The job was erased."""

    code = "erased"


class IdempotencyMismatch(RequestError):
    """The Idempotency-Key was used before with another body."""

    code = "idempotency_mismatch"


class IdempotencyInProgress(RequestError):
    """The first request with this Idempotency-Key is still running."""

    code = "idempotency_in_progress"
    retryable = True


class ResultNotReady(RequestError):
    """The job has not succeeded, so there is no result."""

    code = "result_not_ready"
    retryable = True


class NotRetryable(RequestError):
    """Only a finished job that did not succeed can be retried."""

    code = "not_retryable"


class UploadMismatch(RequestError):
    """The uploaded bytes are missing, or are not those that were announced."""

    code = "upload_mismatch"


class LegalHold(RequestError):
    """It is under legal hold, so nothing of it is erased."""

    code = "legal_hold"


class PreconditionFailed(RequestError):
    """`If-Match` does not name the current version."""

    code = "precondition_failed"


class PreconditionRequired(RequestError):
    """This change needs `If-Match` with the ETag that was read."""

    code = "precondition_required"


class UnknownModel(RequestError):
    """No served model has that name."""

    code = "unknown_model"


class UnknownPolicy(RequestError):
    """The project has no policy of that name."""

    code = "unknown_policy"


class QuotaExceeded(RequestError):
    """More requests than this project or key may make; `retry_after` says in how many seconds to come again."""

    code = "quota_exceeded"
    retryable = True


class BacklogFull(RequestError):
    """Too many jobs are queued; try again later."""

    code = "backlog_full"
    retryable = True


# --- jobs -----------------------------------------------------------------------------------------


class JobError(StyleFlowError):
    """An attempt could not be finished."""


class MediaError(JobError):
    """The video cannot be analysed."""

    code = "corrupt_media"


class ContainerUnsupported(MediaError):
    """The file is not a video container that is accepted."""

    code = "container_unsupported"


class CodecUnsupported(MediaError):
    """The video stream's codec is not accepted."""

    code = "codec_unsupported"


class CorruptMedia(MediaError):
    """The video stream cannot be decoded."""

    code = "corrupt_media"


class TooLarge(MediaError):
    """The file has more bytes than allowed."""

    code = "too_large"


class TooLong(MediaError):
    """The video lasts longer than allowed."""

    code = "too_long"


class ResolutionLimit(MediaError):
    """The video has more pixels, frames a second or streams than allowed."""

    code = "resolution_limit"


class DecoderCrash(MediaError):
    """The decoder died on this file."""

    code = "decoder_crash"


class DecodeTimeout(MediaError):
    """The decoder gave no frame in time."""

    code = "decode_timeout"


class SourceError(JobError):
    """The source video could not be fetched."""

    code = "source_unavailable"


class SourceNotFound(SourceError):
    """There is no object or file at the source's address."""

    code = "source_not_found"


class SourceForbidden(SourceError):
    """The source refused our credentials."""

    code = "source_forbidden"


class SourceChanged(SourceError):
    """The object is not the one that was submitted."""

    code = "source_changed"


class SourceUnavailable(SourceError):
    """The source did not answer properly."""

    code = "source_unavailable"
    retryable = True


class BlockedAddress(SourceError):
    """The host resolves to an address that must not be connected to."""

    code = "blocked_address"


class StorageUnavailable(JobError):
    """The object store did not answer properly."""

    code = "storage_unavailable"
    retryable = True


class DependencyUnavailable(JobError):
    """A service that this one depends on did not answer."""

    code = "dependency_unavailable"
    retryable = True


class GpuOutOfMemory(JobError):
    """The accelerator's memory did not suffice."""

    code = "gpu_oom"
    retryable = True


class ModelUnavailable(JobError):
    """The model that the job names is not loaded here."""

    code = "model_unavailable"


class WorkerLost(JobError):
    """The worker's lease ran out before it settled the job."""

    code = "worker_lost"
    retryable = True


class Poison(JobError):
    """The job took down its worker at every attempt."""

    code = "poison"


class DeadlineExceeded(JobError):
    """The job's deadline passed while it was running."""

    code = "deadline_exceeded"


class InternalFailure(JobError):
    """Something in the worker went wrong that is not the video's fault."""

    code = "internal"
    retryable = True


# --- packs, configuration, control flow ----------------------------------------------------------


class PackError(StyleFlowError):
    """A weights pack is missing, altered, or does not fit the network."""

    code = "model_unavailable"


class ConfigurationError(StyleFlowError):
    """The service is not set up so that it can run."""

    code = "configuration"


class LeaseLost(StyleFlowError):
    """Another worker holds the job now; what this one has is discarded."""

    code = "lease_lost"


class Cancelled(StyleFlowError):
    """The job was cancelled while it ran."""

    code = "canceled"


class Released(StyleFlowError):
    """The worker is shutting down and gives the job back."""

    code = "released"
