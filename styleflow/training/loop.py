"""The training loop that every stage shares: resumable at any step, seeded step by step, logged.

The batch of a step depends on the seed and the step alone, so a run that was interrupted draws what it would have
drawn. A run's folder holds `checkpoint.pt` (network, average, optimiser, step; plain tensors, read weights-only),
`log.jsonl`, and TensorBoard events where that package is installed.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from styleflow.errors import StyleFlowError
from styleflow.training.chance import Chance

CHECKPOINT = "checkpoint.pt"
LOG = "log.jsonl"

Numbers = Mapping[str, float]


class TrainingDiverged(StyleFlowError):
    """The loss is no longer a finite number."""


class CheckpointError(StyleFlowError):
    """A checkpoint from which a step cannot go on."""

    code: ClassVar[str] = "checkpoint_unusable"


@dataclass(frozen=True, kw_only=True)
class LoopWish:
    """How a stage is trained."""

    steps: int
    learning_rate: float
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: float = 0.01
    warm_up: float = 0.05
    """Share of the steps over which the rate rises from 0."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: falling to a hundredth, or staying."""
    gradient_norm: float = 1.0
    average: float = 0.999
    """Decay of the exponential moving average of the parameters, which is what is kept; 0 keeps the last."""
    mixed_precision: bool = False
    """bfloat16 where autocast says so."""
    seed: int = 0
    log_every: int = 20
    judge_every: int = 0
    """Steps between two judgements; 0 only at the end."""
    patience: int = 0
    """Judgements without a better `goal` after which training stops; 0 never."""
    save_every_seconds: float = 60.0


class Trainee(Protocol):
    """What a stage brings: a module and its loss."""

    module: nn.Module

    def groups(self, wish: LoopWish) -> list[dict[str, Any]]:
        """Parameter groups, each with its `lr`."""
        ...

    def draw(self, step: int, chance: Chance) -> Any:
        """What one step learns from, drawn from `chance` alone; always in float32."""
        ...

    def loss(self, drawn: Any) -> tuple[Tensor, Numbers]:
        """The loss of what was drawn, and what to log."""
        ...

    def judge(self) -> Numbers:
        """How good it is, `goal` being what early stopping looks at (higher is better). May be empty."""
        ...


@dataclass(frozen=True)
class Fitted:
    """How a call of `fit` ended."""

    step: int
    finished: bool
    """False where time ran out: call again to go on."""
    judged: Numbers


def fit(
    trainee: Trainee,
    out: Path,
    wish: LoopWish,
    *,
    device: torch.device | str = "cpu",
    stop_after_seconds: float = math.inf,
    say: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Train from the folder's checkpoint, or from the start, until the steps, patience or time are used up.

    At the end the module holds the average, the best that was judged where `patience` asks for it, and that is what
    the last figures are of. Raises TrainingDiverged, and CheckpointError for a checkpoint that is damaged or another
    module's.
    """
    out.mkdir(parents=True, exist_ok=True)
    module, began = trainee.module.to(device), time.monotonic()
    optimiser = _optimiser(trainee.groups(wish), wish)
    rates = [group["lr"] for group in optimiser.param_groups]
    progress = _Progress.resumed(out / CHECKPOINT, module, optimiser)
    with _Log(out) as log:
        saved = began
        while progress.step < wish.steps and not progress.stopped:
            if time.monotonic() - began > stop_after_seconds:
                progress.save(out / CHECKPOINT, module, optimiser)
                return Fitted(progress.step, False, {})
            _scale_rates(optimiser, rates, rate_factor(progress.step, wish))
            numbers = _one_step(trainee, optimiser, progress, wish, torch.device(device))
            if progress.step % wish.log_every == 0:
                log.write(progress.step, numbers | {"seconds": time.monotonic() - began}, say)
            if wish.judge_every and progress.step % wish.judge_every == 0:
                progress.judged(_judged(trainee, progress.average), module, wish.patience, log, say)
            if time.monotonic() - saved > wish.save_every_seconds:
                progress.save(out / CHECKPOINT, module, optimiser)
                saved = time.monotonic()
        progress.save(out / CHECKPOINT, module, optimiser)
        found = _judged(trainee, progress.kept())
        log.write(progress.step, found, say)
    module.load_state_dict(progress.kept() or module.state_dict())
    return Fitted(progress.step, True, found)


def rate_factor(step: int, wish: LoopWish) -> float:
    """What the learning rate is multiplied by at a step, 0..1: linear warm-up, then the schedule."""
    warm = max(1, round(wish.warm_up * wish.steps))
    if step < warm:
        return (step + 1) / warm
    if wish.schedule == "constant":
        return 1.0
    along = (step - warm) / max(1, wish.steps - warm)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def _one_step(
    trainee: Trainee, optimiser: torch.optim.Optimizer, progress: _Progress, wish: LoopWish, device: torch.device
) -> dict[str, float]:
    trainee.module.train()
    drawn = trainee.draw(progress.step, Chance.seeded(wish.seed, progress.step))
    # dropout draws from torch's own generator: it too must not depend on where a run was interrupted
    torch.manual_seed(Chance.seeded(wish.seed, progress.step, 1).whole(0, 2**31))
    with _precision(wish, device):
        loss, numbers = trainee.loss(drawn)
    if not torch.isfinite(loss):
        raise TrainingDiverged(f"the loss is {loss.item()} at step {progress.step}")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, wish.gradient_norm)
    if not torch.isfinite(norm):
        raise TrainingDiverged(f"the gradient is {norm.item()} at step {progress.step}")
    optimiser.step()
    progress.stepped(trainee.module, wish.average)
    return {"loss": loss.item(), "gradient": float(norm), "rate": optimiser.param_groups[0]["lr"], **numbers}


def _precision(wish: LoopWish, device: torch.device) -> AbstractContextManager[Any]:
    return torch.autocast(device.type, dtype=torch.bfloat16) if wish.mixed_precision else nullcontext()


def _optimiser(groups: list[dict[str, Any]], wish: LoopWish) -> torch.optim.Optimizer:
    if wish.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=wish.learning_rate, momentum=0.9, nesterov=True, weight_decay=wish.weight_decay
        )
    kind = torch.optim.AdamW if wish.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=wish.learning_rate, weight_decay=wish.weight_decay)


def _scale_rates(optimiser: torch.optim.Optimizer, rates: list[float], factor: float) -> None:
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def _judged(trainee: Trainee, parameters: Mapping[str, Tensor]) -> Numbers:
    """What these parameters are worth, the module's own where there are none; the module is as it was after."""
    now = {name: value.clone() for name, value in trainee.module.state_dict().items()}
    trainee.module.load_state_dict(parameters or now)
    trainee.module.eval()
    with torch.inference_mode():
        found = trainee.judge()
    trainee.module.load_state_dict(now)
    return found


_DAMAGE = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, pickle.UnpicklingError)
"""What reading a damaged checkpoint, or one of another module, raises."""


class _Progress:
    """Where a run stands; what a checkpoint holds besides network and optimiser."""

    def __init__(self) -> None:
        self.step = 0
        self.average: dict[str, Tensor] = {}
        self.best: dict[str, Tensor] = {}
        self.best_goal = -math.inf
        self.worse = 0
        self.stopped = False

    @classmethod
    def resumed(cls, path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> _Progress:
        progress = cls()
        if path.exists():
            try:
                progress._go_on_from(path, module, optimiser)
            except _DAMAGE as error:
                told = f"{path.parent.name}/{path.name} cannot be gone on from; without it the step begins again"
                raise CheckpointError(f"{told}: {str(error).partition(chr(10))[0]}") from error
        return progress

    def _go_on_from(self, path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        found = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(found["module"])
        optimiser.load_state_dict(found["optimiser"])
        for name, value in found["progress"].items():
            setattr(self, name, value)
        places = {name: value.device for name, value in module.state_dict().items()}
        for held in (self.average, self.best):
            held.update({name: value.to(places[name]) for name, value in held.items()})

    def save(self, path: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        unfinished = path.with_suffix(".part")
        state = {"module": module.state_dict(), "optimiser": optimiser.state_dict(), "progress": vars(self)}
        torch.save(state, unfinished)
        os.replace(unfinished, path)

    def stepped(self, module: nn.Module, decay: float) -> None:
        self.step += 1
        if not decay:
            return
        state = module.state_dict()
        if not self.average:
            self.average = {name: value.clone() for name, value in state.items()}
        # an average that begins at the first step must not remember it for ever
        kept = min(decay, (1 + self.step) / (10 + self.step))
        for name, value in state.items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - kept)
            else:
                self.average[name].copy_(value)

    def judged(self, found: Numbers, module: nn.Module, patience: int, log: _Log, say: Callable[[str], None]) -> None:
        log.write(self.step, found, say)
        goal = found.get("goal")
        if goal is None:
            return  # nobody to judge by: nothing is known to be worse
        if patience and goal > self.best_goal:
            self.best_goal, self.worse = goal, 0
            self.best = {name: value.clone() for name, value in (self.average or module.state_dict()).items()}
        elif patience:
            self.worse += 1
            self.stopped = self.worse >= patience

    def kept(self) -> dict[str, Tensor]:
        """The parameters to go on with: the best that was judged, else the average; empty where none is kept."""
        return self.best or self.average


class _Log:
    """Appends to `log.jsonl`, and to TensorBoard's events where that is installed."""

    def __init__(self, out: Path) -> None:
        self._file = (out / LOG).open("a", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter  # needs a package that training does not

            self._board: Any = SummaryWriter(str(out))
        except ImportError:
            self._board = None

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def write(self, step: int, numbers: Numbers, say: Callable[[str], None]) -> None:
        rounded = {name: float(f"{value:.5g}") for name, value in numbers.items()}
        self._file.write(json.dumps({"step": step, **rounded}) + "\n")
        self._file.flush()
        say(f"{step:6d}  " + "  ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
