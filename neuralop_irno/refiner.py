"""`IterativeRefiner`: a base operator, a correction and a solver as one model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from neuralop_irno._neuralop import BaseModel
from neuralop_irno.at_resolution import resolution_of, with_domain
from neuralop_irno.base.answers import Outputs
from neuralop_irno.base.call import BaseCall
from neuralop_irno.base.conditions import Conditions
from neuralop_irno.base.neuraloperator import wrap_operator
from neuralop_irno.base.operator import BaseOperator
from neuralop_irno.base.scaled_calls import agreed_units
from neuralop_irno.base.units import Units
from neuralop_irno.base.weights import build_base
from neuralop_irno.build import (
    BaseLike,
    Channels,
    CorrectionsLike,
    agreed_sizes,
    build_correction,
    build_solver,
    check_gradient,
    completed,
    given_sizes,
    one_number,
    other_solver,
    step_range,
)
from neuralop_irno.compiling import compiled
from neuralop_irno.correction.correction import DEFAULT_CORRECTION, Correction
from neuralop_irno.correction.from_module import as_correction
from neuralop_irno.correction.in_patches import InPatches
from neuralop_irno.description import Described
from neuralop_irno.devices import as_tensor, as_tensors
from neuralop_irno.domain.resolution import Resolution
from neuralop_irno.draws import integer
from neuralop_irno.equation_calls import CallsEquations, physics_of_equation, sizes_with_residual
from neuralop_irno.equations.equation import EquationLike, equation_from
from neuralop_irno.errors import check_choice, expected
from neuralop_irno.estimates import with_estimates
from neuralop_irno.hub import OnHub
from neuralop_irno.registry import plain
from neuralop_irno.sharded import needs_whole_weights, reads_weights
from neuralop_irno.solution import Solution, Trajectory
from neuralop_irno.solver.drive import no_steps, run_steps, run_to_tolerance, run_training
from neuralop_irno.solver.gradient import GradientLike, gradient_rule
from neuralop_irno.solver.krylov import EquationSolver
from neuralop_irno.solver.solver import Solver, SolverLike, SolverState
from neuralop_irno.solver.step_size import StepSizeLike
from neuralop_irno.solver.stopping import Limits
from neuralop_irno.solver.to_equation import solve_equation


class IterativeRefiner(CallsEquations, Described, OnHub, BaseModel, name="irno"):
    r"""A base operator refined by an iterated correction.

    .. math:: h_0 = \text{base}(x) \qquad h_{k+1} = h_k + \alpha \, \Phi(x, h_k)

    It is called with the arguments of the base, and returns its answer in the same layout. In training
    mode, when the truth is passed as ``y``, it returns a `Trajectory` for `RefinementLoss`; in evaluation
    ``y`` is ignored.

    Args:
        base: any module or callable, or a config (``{"model_arch": "fno", ...}``).
        correction: Phi: a name, a config (``{"name": "unet", "width": 16}``), a `Correction`, or any module
            that takes x and h joined on channels. For several fields a list has one for each, and a name is
            that of all; see `TupleCorrection`.
        solver: a name, a config, or a `Solver`.
        steps: K. With a pair ``[low, high]`` the number of training steps is drawn for every batch, and
            evaluation takes ``high`` steps.
        alpha: the step size: a number, a list (one per step), or a config; the solver's own by default.
        gradient: the gradient rule of the loop in training: ``unrolled``, ``checkpointed``,
            ``{"name": "last", "n": 2}``, ``detached`` or an implicit one. By default ``detached``, and
            ``unrolled`` if the base trains too, since the gradient has to reach it.
        freeze_base: do not change the base's weights and buffers; False trains it too.
        channels: channel axis of the base on grids, ``first`` or ``last``.
        output: where the field is in an answer of the base that is no tensor: a key or attribute, an index,
            or a function (which no file can hold). By default its first part that is a field. The other parts
            are returned with the refined field. With a list several fields are refined together, each on its
            own grid; channels and layout may then be lists too. See `TupleOperator`.
        layout: the axes of x and of the answer, ``"B T C H W -> B C H W"``, with times before channels in x
            and h of Phi; see `neuralop_irno.base.layout.Layout.of`.
        in_channels: channels of x, if the base does not state them.
        out_channels: channels of h, if the base does not state them.
        resolution: what is known of the grids of training, a `Resolution` or its options. On other grids Phi
            is evaluated at the resolution of training. The sizes are collected from calls with y in training
            mode; where they are not made, give ``{"cells": [64, 64]}``.
        train_output: ``trajectory``, or ``field`` for wrappers that need a tensor in training too.
        condition: names of arguments of the call that Phi is given too, ``("tau", "viscosity", "mask")``:
            scalars per sample, and ``mask``, where h is refined; see `Conditions`. A mapping gives each kind,
            ``scalar``, ``mask``, or the number of channels of a field. By default what the base states.
        ignore: names of keyword arguments to ignore, such as other keys of samples, which neuraloperator's
            ``Trainer`` passes on. Any other argument that is not read is a TypeError.
        units: the mean and deviation of each channel of x and of the answer, `Units` or their plain data. The
            correction then works on scaled fields, and with ``base: True`` the base does too; the model takes
            and returns those of the data. Tolerances, norms and error estimates are in scaled units.
        equation: the equation that the answer solves, of fields in the units of the data: an `Equation`, a
            name or a config. Phi is then given its residual as further channels of x.
        sees_residual: whether Phi is given the residual.

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
        base: BaseLike,
        correction: CorrectionsLike = DEFAULT_CORRECTION,
        *,
        solver: SolverLike = "picard",
        steps: int | Sequence[int] = 4,
        alpha: StepSizeLike | None = None,
        gradient: GradientLike | None = None,
        freeze_base: bool = True,
        channels: str = "first",
        output: Outputs | None = None,
        layout: str | Sequence[str | None] | None = None,
        in_channels: Channels = None,
        out_channels: Channels = None,
        resolution: Resolution | Mapping[str, Any] | None = None,
        train_output: str = "trajectory",
        ignore: Sequence[str] = (),
        condition: Sequence[str] | Mapping[str, str | int] | None = None,
        units: Units | Mapping[str, Any] | None = None,
        equation: EquationLike | None = None,
        sees_residual: bool = True,
        _config_name: str | None = None,
    ) -> None:
        super().__init__()
        check_choice("train_output 'trajectory' or 'field'", train_output, ("trajectory", "field"))
        gradient = ("detached" if freeze_base else "unrolled") if gradient is None else gradient
        operator = build_base(base, one_number(in_channels), one_number(out_channels))
        self.train_output, self.ignore = train_output, tuple(ignore)
        self.steps = steps
        self.gradient = gradient_rule(gradient)
        self.base: BaseOperator = wrap_operator(operator, freeze_base, channels, output, layout)
        self.base.freeze(freeze_base)  # an adapter that was given may have another setting
        self.units = agreed_units(plain(units), self.base)
        self.conditions = Conditions.of(plain(self.base.condition if condition is None else condition))
        self.sizes = agreed_sizes(given_sizes(in_channels, out_channels, self.base), self.base.sizes())
        self.resolution = resolution_of(resolution, self.base)
        padding = self.resolution.padding
        self.equation = None if equation is None else equation_from(equation)
        self.sees_residual = sees_residual
        sizes = sizes_with_residual(self.sizes, self.equation, sees_residual)
        built = build_correction(correction, sizes, self.conditions, padding)
        self.correction: Correction = self.given_residual(built)
        self.sizes = completed(self.sizes, self.correction, self.conditions)
        self.solver: Solver = build_solver(solver, alpha)
        check_gradient(self.gradient, gradient, freeze_base, self.solver)

    @property
    def steps(self) -> int:
        """K, the number of steps. Set it to a number or a pair, as in the constructor."""
        return self._steps[1]

    @steps.setter
    def steps(self, steps: int | Sequence[int]) -> None:
        self._steps = step_range(steps)

    def __setattr__(self, name: str, value: Any) -> None:
        # A module assigned to ``correction`` is converted, or refused.
        super().__setattr__(name, as_correction(value) if name == "correction" else value)

    @reads_weights
    def forward(
        self,
        *args: Any,
        y: Tensor | None = None,
        start: Tensor | None = None,
        taken: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """The refined answer to a call of the base; a `Trajectory` in training if y is given.

        Args:
            args: positional arguments of the base.
            y: the truth. Read in training only, so that it cannot leak into an answer.
            start: an answer to start from; the base is then not called.
            taken: in training, the steps already taken by each sample's ``start``, ``(samples,)``; only the
                next step is supervised.
            kwargs: keyword arguments of the base. On a grid also ``lengths``, the sides of its box (by
                default those of training), ``measure``, that of its cells, and ``sphere``; see
                `neuralop_irno.domain.sphere.grid_domain`. In training with y, other entries of the sample
                (tensors, lists and dicts whose names do not resemble an argument) are left out. Any other
                argument is a TypeError.
        """
        sample = self.training and y is not None
        if taken is not None and not sample:
            raise ValueError(expected("taken in training, beside y", "taken", "model.train()(x, y=y, ..)"))
        if isinstance(self.solver, EquationSolver) and not sample:
            return self.solve(*args, start=start, **kwargs).value
        problem = self.checked_problem(IterativeRefiner.forward, args, kwargs, start, sample)
        if self.training and y is not None and self.train_output == "trajectory":
            return self._trajectory(problem, y, taken)
        if sample:  # with train_output="field"
            self.resolution = with_domain(self.resolution, problem.domain)
        problem = self.at_resolution(problem)
        phi, start = self.phi(problem), problem.start
        if self.training and self.steps:
            rule, taken = self.gradient.for_answers(), no_steps(phi, start)
            found = rule(phi, self.solver, start, taken, self.draw_steps())
        else:
            found = run_steps(phi, self.solver, start, self.steps)
        return problem.as_answer(found.value)

    @reads_weights
    @torch.no_grad()
    def solve(
        self,
        *args: Any,
        solver: SolverLike | None = None,
        steps: int | None = None,
        max_steps: int | Tensor | None = None,
        max_evaluations: int | None = None,
        atol: float = 0.0,
        rtol: float | Tensor = 0.0,
        residual_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        residual_tol: float | None = None,
        equation: EquationLike | None = None,
        start: Tensor | None = None,
        throw: bool = False,
        compile: bool = False,  # noqa: A002
        **kwargs: Any,
    ) -> Solution:
        """The refined answer as a `Solution`, with an outcome per sample.

        A sample has converged when its residual, alpha * Phi(x, h), is smaller than ``atol + rtol |h|``.
        Finished samples are no longer evaluated, and no sample's answer depends on the others in its batch.

        Args:
            args: positional arguments of the base.
            solver: a solver for this call: a name, a config or an object; without an alpha of its own it
                uses that of the model's solver.
            steps: number of steps without a tolerance, K by default.
            max_steps: largest number of steps with a tolerance, 100 by default; one for all, or one per
                sample, ``(samples,)``.
            max_evaluations: largest number of evaluations of Phi, counted in samples over the whole batch.
            atol: see above.
            rtol: see above; one for all, or one per sample, ``(samples,)``.
            residual_fn: (x, h) -> the residual of the equation, all laid out channels first. It then decides
                which samples have converged, and is what Anderson's weights minimise; a fixed point at which
                the equation is not solved has its own outcome, ``FALSE_FIXED_POINT``.
            residual_tol: the norm of that residual below which the equation counts as solved.
            equation: the equation of this call; by default that of the model.
            start: an answer to start from; by default the base's own.
            throw: raise RuntimeError if a sample failed, instead of only recording its outcome.
            compile: evaluate Phi, on grids, by ``torch.compile``; see `neuralop_irno.compiling`.
            kwargs: keyword arguments of the base; an argument that is not read is a TypeError.
        """
        limits = Limits(steps, max_steps, max_evaluations, atol, rtol, residual_tol)
        chosen = other_solver(solver, self.solver)
        if isinstance(chosen, EquationSolver):
            self.refuse_unread(IterativeRefiner.solve, args, kwargs)
            self.refuse_residual_fn(residual_fn)
            system, whole = self.system(args, kwargs, start, equation)
            with compiled(self, compile):
                solution = solve_equation(system, chosen, whole.start, self.steps, limits, whole.as_answer)
            return solution.or_raise() if throw else solution
        call = self.checked_problem(IterativeRefiner.solve, args, kwargs, start)
        problem = self.at_resolution(call)
        phi = self.phi(problem, self.physics(problem, residual_fn, residual_tol, equation))
        with compiled(self, compile):
            solution = run_to_tolerance(phi, chosen, problem.start, self.steps, limits, problem.as_answer)
        solution = with_estimates(solution, call, self.base.field_of, self.calibration, self.bands)
        return solution.or_raise() if throw else solution

    @reads_weights
    @torch.no_grad()
    def iterates(
        self, *args: Any, steps: int | None = None, start: Tensor | None = None, **kwargs: Any
    ) -> list[Any]:
        """The answers after 0, 1, .. K steps, equal to those of `forward` for every K."""
        problem = self.at_resolution(self.checked_problem(IterativeRefiner.iterates, args, kwargs, start))
        if isinstance(self.solver, EquationSolver):
            counts = range(Limits(steps).budget(self.steps) + 1)
            return [self.solve(*args, steps=k, start=start, **kwargs).value for k in counts]
        found = [problem.start]

        def keep(h: Tensor, state: SolverState) -> None:
            found.append(self.solver.answer(h, state))

        count = Limits(steps).budget(self.steps)
        run_steps(self.phi(problem), self.solver, problem.start, count, watch=keep)
        return [problem.as_answer(h) for h in found]

    @needs_whole_weights
    def with_base(self, base: BaseLike) -> Self:
        """A copy of this refiner, with its trained correction, around another base.

        The calibration and the bands are dropped: they were fitted to the old base. A base without units of
        its own is given x as it is; the ``base`` of a refiner has its units.

        Args:
            base: a module, a callable or a config, with the same channels.
        """
        parts = {
            "base": build_base(base, self.sizes.in_channels, self.sizes.out_channels),
            "correction": copy.deepcopy(self.correction),
            "solver": copy.deepcopy(self.solver),
            "gradient": self.gradient,
            "output": self.base.output,
            "in_channels": None,  # taken from the correction; a base with others is refused
            "out_channels": None,
            "units": self.units and replace(self.units, base=False),
        }
        other = type(self)(**{**self.config, **parts})
        other.sizes = agreed_sizes(self.sizes, other.base.sizes())
        return other.train(self.training)

    def in_patches(self, size: int | Sequence[int]) -> Self:
        """This refiner, with the same weights, with its correction evaluated in patches: see `InPatches`."""
        other = copy.copy(self)
        other._modules = dict(self._modules)  # the copy shares all parts but the correction
        other.correction = InPatches(self.correction, size)
        return other

    def _trajectory(self, problem: BaseCall, y: Tensor, taken: Tensor | None) -> Trajectory:
        y, taken = as_tensors(y, self), as_tensor(taken, self)
        self.resolution = with_domain(self.resolution, problem.domain)
        truth = problem.target(y)
        steps, start = self.draw_steps(), problem.start
        if steps and taken is None:
            like = truth.to(start.dtype)
            start, taken = self.gradient.begin(start, like, problem.domain, self.solver, steps)
        return run_training(
            self.phi(problem), self.solver, self.gradient, start, steps, problem.as_field,
            problem.as_answer, taken, physics_of_equation(self.equation, problem, self.units),
        )  # fmt: skip

    def draw_steps(self) -> int:
        """The number of steps of one batch in training: K, or drawn from the pair in ``steps``."""
        fewest, most = self._steps
        return most if fewest == most else integer(fewest, most + 1)
