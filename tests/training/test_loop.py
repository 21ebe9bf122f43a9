from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from styleflow.training.chance import Chance
from styleflow.training.loop import (
    CHECKPOINT,
    LOG,
    CheckpointError,
    LoopWish,
    Numbers,
    TrainingDiverged,
    fit,
    rate_factor,
)

WISH = LoopWish(steps=40, learning_rate=0.05, weight_decay=0.0, log_every=10, average=0.9)


@dataclass(eq=False)
class Line:
    """Learns y = 2x + 1 from noisy points."""

    module: nn.Module = field(default_factory=lambda: nn.Linear(1, 1))
    goals: list[float] = field(default_factory=list)
    drawn: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        nn.init.zeros_(self.module.weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.module.bias)  # type: ignore[arg-type]

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        return [{"params": list(self.module.parameters()), "lr": wish.learning_rate}]

    def draw(self, step: int, chance: Chance) -> Tensor:
        x = chance.normal(16, 1)
        self.drawn.append(float(x[0]))
        return x

    def loss(self, drawn: Tensor) -> tuple[Tensor, Numbers]:
        error = (self.module(drawn) - (2 * drawn + 1)).square().mean()
        return error, {"error": error.item()}

    def judge(self) -> Numbers:
        return {"goal": self.goals.pop(0)} if self.goals else {"weight": float(self.module.weight)}  # type: ignore[arg-type]


def parameters(line: Line) -> list[float]:
    return [float(value) for value in line.module.state_dict().values()]


def test_it_learns_and_keeps_the_average(tmp_path: Path) -> None:
    line = Line()

    found = fit(line, tmp_path, LoopWish(steps=300, learning_rate=0.05, weight_decay=0.0))

    assert (found.step, found.finished) == (300, True)
    assert parameters(line) == pytest.approx([2.0, 1.0], abs=0.2)
    assert found.judged["weight"] == pytest.approx(parameters(line)[0])


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = Line()
    fit(whole, tmp_path / "whole", WISH)

    class Interrupted(Exception):
        pass

    class Interrupting(Line):
        def loss(self, drawn: Tensor) -> tuple[Tensor, Numbers]:
            if len(self.drawn) == 15:
                raise Interrupted
            return super().loss(drawn)

    frequent = LoopWish(**{**vars(WISH), "save_every_seconds": 0.0})
    with pytest.raises(Interrupted):
        fit(Interrupting(), tmp_path / "parts", frequent)
    again = Line()
    found = fit(again, tmp_path / "parts", frequent)

    assert found.finished
    assert len(again.drawn) == 26
    assert parameters(again) == parameters(whole)


def test_time_that_runs_out_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    found = fit(Line(), tmp_path, WISH, stop_after_seconds=-1.0)

    assert (found.step, found.finished) == (0, False)
    assert (tmp_path / CHECKPOINT).exists()
    assert fit(Line(), tmp_path, WISH).finished


@pytest.mark.parametrize("length", [0, 1, 200, 1500])
def test_a_checkpoint_that_was_cut_off_is_named(tmp_path: Path, length: int) -> None:
    fit(Line(), tmp_path / "step", WISH, stop_after_seconds=-1.0)
    checkpoint = tmp_path / "step" / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])

    with pytest.raises(CheckpointError, match=r"step/checkpoint\.pt cannot be gone on from"):
        fit(Line(), tmp_path / "step", WISH)


def test_a_checkpoint_of_another_module_is_refused(tmp_path: Path) -> None:
    fit(Line(), tmp_path, WISH, stop_after_seconds=-1.0)

    with pytest.raises(CheckpointError):
        fit(Line(nn.Linear(2, 1)), tmp_path, WISH)


def test_without_an_average_the_last_parameters_are_kept(tmp_path: Path) -> None:
    line = Line()

    fit(line, tmp_path, LoopWish(steps=300, learning_rate=0.05, weight_decay=0.0, average=0.0))

    assert parameters(line) == pytest.approx([2.0, 1.0], abs=0.05)


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    class Diverging(Line):
        def loss(self, drawn: Tensor) -> tuple[Tensor, Numbers]:
            return super().loss(drawn)[0] * math.nan, {}

    with pytest.raises(TrainingDiverged, match="at step 0"):
        fit(Diverging(), tmp_path, WISH)


def test_patience_stops_and_keeps_the_best_that_was_judged(tmp_path: Path) -> None:
    wish = LoopWish(**{**vars(WISH), "judge_every": 5, "patience": 2})
    line = Line(goals=[0.5, 0.9, 0.7, 0.6, 0.1])

    found = fit(line, tmp_path, wish)

    assert found.step == 20
    kept = Line()
    fit(kept, tmp_path / "ten", LoopWish(**{**vars(WISH), "steps": 40, "judge_every": 5, "patience": 0}))
    assert parameters(line) != parameters(kept)
    logged = [json.loads(row) for row in (tmp_path / LOG).read_text().splitlines()]
    assert [row["goal"] for row in logged if "goal" in row][:4] == [0.5, 0.9, 0.7, 0.6]


def test_where_there_is_nobody_to_judge_by_patience_does_not_end_the_run(tmp_path: Path) -> None:
    class Unjudged(Line):
        def judge(self) -> Numbers:
            return {}

    found = fit(Unjudged(), tmp_path, LoopWish(**{**vars(WISH), "judge_every": 2, "patience": 1}))

    assert found.step == WISH.steps


def test_the_last_figures_are_of_the_parameters_that_are_kept(tmp_path: Path) -> None:
    """The weight grows towards 2; a goal that falls with it makes the first that was judged the best."""

    class Worsening(Line):
        def judge(self) -> Numbers:
            weight = float(self.module.weight)  # type: ignore[arg-type]
            return {"goal": -weight, "weight": weight}

    line = Worsening()

    found = fit(line, tmp_path, LoopWish(**{**vars(WISH), "judge_every": 5, "patience": 2}))

    logged = [json.loads(row) for row in (tmp_path / LOG).read_text().splitlines()]
    assert found.step == 15
    assert found.judged["weight"] == parameters(line)[0]
    assert logged[-1]["weight"] == pytest.approx(parameters(line)[0], rel=1e-4)


@given(st.integers(1, 5000), st.floats(0.0, 0.5))
def test_the_rate_rises_then_falls_and_is_never_zero(steps: int, warm_up: float) -> None:
    wish = LoopWish(steps=steps, learning_rate=1.0, warm_up=warm_up)
    factors = [rate_factor(step, wish) for step in range(0, steps, max(1, steps // 50))]
    top = factors.index(max(factors))

    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
