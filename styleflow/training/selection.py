"""Which of a store's videos a recipe learns from, and which it is judged by."""

from __future__ import annotations

from styleflow.errors import ConfigurationError
from styleflow.training.bank import Bank, BankedVideo, banked, held_back, without_generators
from styleflow.training.recipe import Selection
from styleflow.training.store import Store, StoreError


def chosen_banks(store: Store, chosen: Selection) -> tuple[Bank, Bank]:
    """(to learn from, to judge by); the second is empty where nobody is held back.

    Raises StoreError where no real video is left to learn from: every pair has one. Raises ConfigurationError for a
    generator to leave out that made nothing in the store.
    """
    _refuse_unknown_generators(store, chosen)
    bank = banked(store)
    if not bank.videos:
        raise StoreError(f"the store {store.directory.name} holds no clips of the split train")
    if chosen.held_back < 0:
        learn, judge = bank, bank.where(lambda _: False)
    else:
        learn, judge = held_back(bank, chosen.held_back, chosen.folds)
    if not learn.reals:
        raise StoreError(f"the store {store.directory.name} has no real video to learn from, besides who is held back")
    left_out = chosen.without_generators
    return without_generators(learn, left_out), without_generators(judge, left_out)


def judged_bank(store: Store, chosen: Selection, split: str) -> Bank:
    """Whom nobody learnt from: of the split train who is held back, and beside them what a left-out generator made of
    people (bodies and donors) who are not learnt from; any other split whole.

    Raises StoreError where that is nothing, and what `chosen_banks` raises.
    """
    bank = _strangers(store, chosen) if split == "train" else banked(store, splits=(split,))
    if not bank.videos:
        raise StoreError(f"the store {store.directory.name} holds nobody of the split {split} who was not learnt from")
    return bank


def _strangers(store: Store, chosen: Selection) -> Bank:
    learn, judge = chosen_banks(store, chosen)
    known = {name for video in learn.videos for name in (video.identity, video.donor)}
    kept = {video.key for video in judge.videos}

    def left_out(video: BankedVideo) -> bool:
        made = video.fake and video.generator in chosen.without_generators
        return made and not {video.identity, video.donor or video.identity} & known

    return banked(store).where(lambda video: video.key in kept or left_out(video))


def _refuse_unknown_generators(store: Store, chosen: Selection) -> None:
    known = {video.facts.generator for video in store.videos if video.facts.label == "fake"}
    unknown = sorted(set(chosen.without_generators) - known)
    if unknown:
        raise ConfigurationError(
            f"without_generators: no video in the store is of {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
