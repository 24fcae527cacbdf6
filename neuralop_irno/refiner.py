"""The refiner: a base operator, a correction and a solver, joined into one model."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno._neuralop import BaseModel, build_model
from neuralop_irno.base.checks import check_finite
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseCall, BaseOperator, ModelSpec
from neuralop_irno.build import (
    agreed_sizes,
    build_correction,
    build_solver,
    completed,
    other_solver,
    step_range,
)
from neuralop_irno.correction.correction import BoundCorrection, Correction, FunctionCorrection
from neuralop_irno.correction.from_module import as_correction
from neuralop_irno.description import Described
from neuralop_irno.errors import did_you_mean, expected, shown
from neuralop_irno.persistence import Persistent
from neuralop_irno.registry import plain
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.drive import no_steps, run_steps, run_to_tolerance, run_training
from neuralop_irno.solver.gradient import gradient_rule
from neuralop_irno.solver.solver import Solver, SolverState
from neuralop_irno.solver.stopping import Limits

COLLATED = (Tensor, list, tuple, Mapping)
"""What other keys of a sample hold once a loader made a batch of them; single numbers become tensors."""


class IterativeRefiner(Described, Persistent, BaseModel, name="irno"):
    r"""A base operator refined by an iterated correction.

    .. math:: h_0 = \text{base}(x) \qquad h_{k+1} = h_k + \alpha \, \Phi(x, h_k)

    It is called exactly as the base is, and answers in the same layout. In training mode, when the
    truth is passed as ``y``, it returns the `Trajectory` that `RefinementLoss` reads; in evaluation
    ``y`` is ignored.

    Args:
        base: any module or callable, or a config (``{"model_arch": "fno", ...}``).
        correction: Phi, by name, by config (``{"name": "unet", "width": 16}``), a `Correction`, or any
            module that takes x and h joined on channels.
        solver: by name, by config, or a `Solver`.
        steps: K. A pair ``[low, high]`` draws the number of training steps anew for every batch, and
            answers with ``high`` steps.
        alpha: the step size: a number, a list (one per step), or a config; the solver's own by default.
        gradient: how gradients cross the loop in training: ``unrolled``, ``checkpointed``,
            ``{"name": "last", "n": 2}``, ``detached`` or an implicit one. By default ``detached``, and
            ``unrolled`` where the base trains too: there a gradient has to reach it.
        freeze_base: keep the base as it is, weights and buffers; False trains it too.
        channels: where the base keeps its channels on grids, ``first`` or ``last``.
        in_channels: channels of x, where the base does not say.
        out_channels: channels of h, where the base does not say.
        train_output: ``trajectory``, or ``field`` for wrappers that want a tensor in training too.
        ignore: names of keyword arguments that a call may have although neither the base nor the refiner
            reads them: other keys of a data set's samples, which neuraloperator's ``Trainer`` passes on. Any
            other argument that is not read is a TypeError.

    Shapes:
        - on grids x is ``(B, in_channels, *S)`` and the answer ``(B, out_channels, *S)``

    Example:
        >>> from neuralop.models import FNO
        >>> base = FNO(n_modes=(4, 4), in_channels=2, out_channels=1, hidden_channels=4, n_layers=1)
        >>> model = IterativeRefiner(base, correction="unet", steps=6, alpha=0.5).eval()
        >>> x = torch.randn(3, 2, 16, 16)
        >>> torch.equal(model(x), base(x))  # an untrained correction changes nothing
        True
    """

    def __init__(
        self,
        base: Any,
        correction: Any = "unet",
        *,
        solver: Any = "picard",
        steps: int | Sequence[int] = 4,
        alpha: Any = None,
        gradient: Any = None,
        freeze_base: bool = True,
        channels: str = "first",
        in_channels: int | None = None,
        out_channels: int | None = None,
        train_output: str = "trajectory",
        ignore: Sequence[str] = (),
        _config_name: str | None = None,
    ) -> None:
        super().__init__()
        base, correction, solver, alpha, gradient = map(plain, (base, correction, solver, alpha, gradient))
        if train_output not in ("trajectory", "field"):
            raise ValueError(
                expected("train_output 'trajectory' or 'field'", repr(train_output), "'trajectory'")
            )
        gradient = ("detached" if freeze_base else "unrolled") if gradient is None else gradient
        base = build_model(base, in_channels, out_channels)
        self.train_output = train_output
        self.ignore = tuple(ignore)
        self.steps = steps
        self.gradient = gradient_rule(gradient)
        if not (freeze_base or self.gradient.reaches_start):
            raise ValueError(
                expected(
                    "a gradient rule that reaches a base that trains",
                    gradient,
                    "gradient='unrolled' or 'checkpointed', or freeze_base=True",
                )
            )
        self.base: BaseOperator = wrap_operator(base, freeze_base, channels)
        self.base.freeze(freeze_base)  # an adapter of the user's has an opinion of its own
        self.sizes = agreed_sizes(ModelSpec(in_channels, out_channels), self.base.sizes())
        self.correction: Correction = as_correction(build_correction(correction, self.sizes))
        self.sizes = completed(self.sizes, self.correction)
        self.solver: Solver = build_solver(solver, alpha)
        if self.gradient.starts_at_truth and not self.solver.adds_noise:
            # At the truth an untrained correction has no error to learn from.
            got = f"{type(self.solver).__name__} beside gradient='from_truth'"
            raise ValueError(expected("a solver that adds noise", got, "solver='denoising', or 'detached'"))
        self._remember(
            {"base": base, "correction": correction, "solver": solver, "alpha": alpha, "gradient": gradient},
            {"freeze_base": freeze_base, "channels": channels},
        )

    @property
    def steps(self) -> int:
        """K, the steps of an answer. Set it to a number, or to a pair for training, as in the constructor."""
        return self._steps[1]

    @steps.setter
    def steps(self, steps: int | Sequence[int]) -> None:
        self._steps = step_range(steps)

    def __setattr__(self, name: str, value: Any) -> None:
        # A module in place of the correction is made one, and refused where it cannot be.
        super().__setattr__(name, as_correction(value) if name == "correction" else value)

    def forward(
        self,
        *args: Any,
        y: Tensor | None = None,
        start: Tensor | None = None,
        taken: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The refined answer to a call of the base; a `Trajectory` in training, where y is given.

        Args:
            args: what the base takes by position.
            y: the truth. Read in training only, so that it cannot leak into an answer.
            start: an answer to start from, in place of the base's own, which is then not computed.
            taken: in training, the steps that each sample's ``start`` has behind it, ``(samples,)``:
                the one next step is supervised.
            kwargs: what the base takes by keyword. In training, where y is given, other keys of the sample
                are left out: tensors, lists and dicts whose names are not like those of an argument.
                Anything else is a TypeError.
        """
        sample = self.training and y is not None
        if taken is not None and not sample:
            raise ValueError(expected("taken in training, beside y", "taken", "model.train()(x, y=y, ..)"))
        problem = self._problem(IterativeRefiner.forward, args, kwargs, start, sample)
        if self.training and y is not None and self.train_output == "trajectory":
            return self._trajectory(problem, y, taken)
        phi, start = self._phi(problem), problem.start
        if self.training and self.steps:
            rule, taken = self.gradient.for_answers(), no_steps(phi, start)
            found = rule(phi, self.solver, start, taken, self._draw_steps())
        else:
            found = run_steps(phi, self.solver, start, self.steps)
        return problem.as_answer(found.value)

    @torch.no_grad()
    def solve(
        self,
        *args: Any,
        solver: Any = None,
        steps: int | None = None,
        max_steps: int | Tensor | None = None,
        max_evaluations: int | None = None,
        atol: float = 0.0,
        rtol: float | Tensor = 0.0,
        residual_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        residual_tol: float | None = None,
        start: Tensor | None = None,
        throw: bool = False,
        **kwargs: Any,
    ) -> Solution:
        """The refined answer, with an account of how each sample got there.

        A sample has converged when its residual, alpha * Phi(x, h), is smaller than ``atol + rtol |h|``.
        Samples that are done cost nothing more, and no sample's answer depends on the others in its batch.

        Args:
            args: what the base takes by position.
            solver: another solver than the model's own, by name, config or object; a name takes over the
                model's alpha.
            steps: take so many steps, K by default; without a tolerance.
            max_steps: with a tolerance, how many at most: 100 by default; one for all, or one per sample.
            max_evaluations: of Phi, counted in samples over the whole batch.
            atol: see above.
            rtol: see above; one for all, or one per sample, ``(samples,)``.
            residual_fn: (x, h) -> the residual of the equation, both and it laid out channels first. It
                then decides which samples have converged, and weighs Anderson's steps; a fixed point at which
                the equation is not solved is an outcome of its own.
            residual_tol: the norm of that residual below which the equation is solved.
            start: an answer to start from, in place of the base's own.
            throw: raise if a sample ended badly, rather than mark it.
            kwargs: what the base takes by keyword; an argument that is not read is a TypeError.
        """
        if (residual_fn is None) is not (residual_tol is None):
            raise ValueError(expected("residual_fn and residual_tol together", "one of them", "both"))
        if residual_fn is not None and not callable(residual_fn):
            raise TypeError(expected("residual_fn as a function (x, h)", shown(residual_fn), "a function"))
        limits = Limits(steps, max_steps, max_evaluations, atol, rtol, residual_tol)
        problem = self._problem(IterativeRefiner.solve, args, kwargs, start)
        if problem.start.is_meta:
            raise ValueError(expected("fields with values in solve", "meta tensors", "forward, or iterates"))
        physics = None
        if residual_fn is not None:
            physics = FunctionCorrection(residual_fn).bind(problem.x, problem.domain)
        phi = self.correction.bind(problem.x, problem.domain, physics)
        chosen = other_solver(solver, self.solver)
        solution = run_to_tolerance(phi, chosen, problem.start, self.steps, limits, problem.as_answer)
        if self.calibration:
            estimate = self.calibration.estimate(solution.predictors)
            solution = replace(solution, error_estimate=estimate)
        return solution.or_raise() if throw else solution

    @torch.no_grad()
    def iterates(
        self, *args: Any, steps: int | None = None, start: Tensor | None = None, **kwargs: Any
    ) -> list[Any]:
        """The answers after 0, 1, .. steps: what `forward` returns for every K at once."""
        problem = self._problem(IterativeRefiner.iterates, args, kwargs, start)
        found = [problem.start]

        def keep(h: Tensor, state: SolverState) -> None:
            found.append(self.solver.answer(h, state))

        count = Limits(steps).budget(self.steps)
        run_steps(self._phi(problem), self.solver, problem.start, count, watch=keep)
        return [problem.as_answer(h) for h in found]

    def arguments(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a data set's sample that a call takes by keyword: neither y nor what is not read."""
        unknown = {"y", *self.base.unknown((), sample)}
        return {name: value for name, value in sample.items() if name not in unknown}

    def problem(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], start: Tensor | None = None
    ) -> BaseCall:
        """One call of the base, laid out for the iteration; keys of a sample that it does not take pass."""
        return self.base.problem(args, kwargs, start, self.correction.periodic)

    def _problem(
        self,
        method: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        start: Tensor | None,
        sample: bool = False,
    ) -> BaseCall:
        """The problem of a call of one of our methods, whose keyword arguments are all read."""
        for key in self.base.unknown(args, kwargs):
            if key in self.ignore:
                continue
            names = [*self.base.names(), *_keywords(method)]
            meant = get_close_matches(key, [*names, *_keywords(IterativeRefiner.solve)], n=1, cutoff=0.8)
            if sample and isinstance(kwargs[key], COLLATED) and not meant:
                continue
            hint = f"{did_you_mean(key, names)}, or IterativeRefiner(..., ignore=[{key!r}])"
            if meant and meant[0] not in names:
                hint = f"model.solve(..., {meant[0]}=...), which takes it, or {hint}"
            raise TypeError(expected(f"an argument of {method.__name__}", repr(key), hint))
        return self.problem(args, kwargs, start)

    def _phi(self, problem: BaseCall) -> BoundCorrection:
        return self.correction.bind(problem.x, problem.domain)

    def with_base(self, base: Any) -> Self:
        """A copy of this refiner around another base; the trained correction comes along.

        Args:
            base: a module, a callable or a config, with the same channels.
        """
        parts = {
            "base": build_model(base, self.sizes.in_channels, self.sizes.out_channels),
            "correction": copy.deepcopy(self.correction),
            "solver": copy.deepcopy(self.solver),
            "alpha": None,
            "gradient": self.gradient,
            "in_channels": None,  # the correction has them, and refuses a base with others
            "out_channels": None,
        }
        config = self.config
        other = type(self)(**{**config, **parts})
        other.sizes = agreed_sizes(self.sizes, other.base.sizes())
        other.describe(**{name: config[name] for name in ("correction", "solver", "alpha", "gradient")})
        return other.train(self.training)

    def _trajectory(self, problem: BaseCall, y: Tensor, taken: Tensor | None) -> Trajectory:
        check_finite(y, "y")
        samples = problem.domain.samples
        if taken is not None and not (isinstance(taken, Tensor) and taken.shape == (samples,)):
            got = tuple(taken.shape) if isinstance(taken, Tensor) else shown(taken)
            raise ValueError(expected(f"taken of shape ({samples},)", got, "a number for each sample"))
        truth = problem.as_field(y)
        if truth.shape != problem.start.shape:
            raise ValueError(
                expected(
                    f"y like the base's answer {tuple(problem.start.shape)}",
                    tuple(truth.shape),
                    "a base and targets on one grid, with the same channels",
                )
            )
        steps, start = self._draw_steps(), problem.start
        if steps and taken is None and self.gradient.starts_at_truth:
            start = truth.to(start.dtype)
        return run_training(
            self._phi(problem), self.solver, self.gradient, start, steps, problem.as_field,
            problem.as_answer, taken,
        )  # fmt: skip

    def _draw_steps(self) -> int:
        fewest, most = self._steps
        return most if fewest == most else int(torch.randint(fewest, most + 1, ()))


def _keywords(method: Callable[..., Any]) -> list[str]:
    """The names of a method's own keyword arguments."""
    return [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.KEYWORD_ONLY]
