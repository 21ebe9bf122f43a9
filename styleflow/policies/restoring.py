"""Back to the thresholds of the pack that judged: what `default` means for a result that a policy was put on.

A result that was judged by its pack's own thresholds still holds them. One that was judged under a policy from the
start does not: for it they are those of the pack, where that is served when the order is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from styleflow.packs import PackCard
from styleflow.policies.queries import DEFAULT, snapshot
from styleflow.report import Thresholds
from styleflow.verdicts import verdict

Own = Mapping[str, Mapping[str, Any]]
"""Thresholds of packs, by their parameters and what else decides a score."""


def own_thresholds(cards: Iterable[PackCard]) -> dict[str, dict[str, Any]]:
    """Of those packs that are calibrated."""
    return {
        f"{card.weights.sha256}/{card.scoring_sha256}": snapshot(card.calibration.thresholds)
        for card in cards
        if card.calibration is not None
    }


def restore(session: Session, own: Own, job_ids: Sequence[str]) -> int:
    """Put their pack's own words back on these jobs; how many became others.

    Left alone are jobs under legal hold, and those whose pack's thresholds are not known.
    """
    before = session.execute(_BEFORE, {"ids": list(job_ids)}).all()
    known = [(row, found) for row in before if (found := _thresholds(row, own)) is not None]
    words = [str(verdict(row.probability, Thresholds(**found))) for row, found in known]
    if known:
        session.execute(
            _RESTORE,
            {
                "ids": [row.id for row, _ in known],
                "words": words,
                # Those that the result itself holds are shown from there.
                "kept": [None if _as_found(row) else json.dumps(found) for row, found in known],
                "default": DEFAULT,
            },
        )
    return sum(row.verdict != word for (row, _), word in zip(known, words, strict=True))


def _thresholds(row: Row[Any], own: Own) -> Mapping[str, Any] | None:
    return row.found if _as_found(row) else own.get(row.pack or "")


def _as_found(row: Row[Any]) -> bool:
    """Whether the result holds its pack's own thresholds: those of a policy cite a revision."""
    return row.found is not None and "@" not in row.found["policy"]


_BEFORE = text(
    "select jobs.id, jobs.verdict, jobs.probability, r.report -> 'thresholds' as found,"
    " (jobs.pipeline ->> 'pack_sha256') || '/' || (jobs.pipeline ->> 'scoring_sha256') as pack"
    " from jobs left join results r on r.job_id = jobs.id"
    " where jobs.id = any(:ids) and jobs.outcome = 'scored' and jobs.probability is not null"
    " and jobs.policy_revision is not null and jobs.erased_at is null and jobs.held_at is null"
    " order by jobs.id for update of jobs"
)
_RESTORE = text(
    "update jobs set verdict = word, policy = :default, policy_revision = null,"
    " policy_thresholds = cast(kept as jsonb), row_version = row_version + 1"
    " from unnest(cast(:ids as text[]), cast(:words as text[]), cast(:kept as text[])) as given (id, word, kept)"
    " where jobs.id = given.id"
)
