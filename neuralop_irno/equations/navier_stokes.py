"""One implicit step of the Navier-Stokes equations in two dimensions, in terms of the vorticity."""

from __future__ import annotations

import torch
from torch import Tensor

from neuralop_irno.domain.domain import Domain
from neuralop_irno.equations.diffusion import channel, spacings_of
from neuralop_irno.equations.equation import Map
from neuralop_irno.equations.time_steps import ImplicitStep
from neuralop_irno.errors import check_least, expected
from neuralop_irno.registry import EQUATIONS


class SpectralFlow:
    r"""w -> :math:`-u \cdot \nabla w + \nu \Delta w` on a torus, by Fourier transforms.

    .. math:: u = (\psi_y, -\psi_x) \qquad -\Delta \psi = w

    The mean of w induces no velocity. Products are taken on the grid, without dealiasing; the highest
    frequencies of even grids have no first derivative.

    Args:
        viscosity: nu.
        shape: points along both axes.
        spacings: along both axes.
        like: a tensor that gives the dtype and the device.
    """

    def __init__(
        self, viscosity: float, shape: tuple[int, ...], spacings: tuple[float, ...], like: Tensor
    ) -> None:
        self.viscosity, self.shape = viscosity, shape
        options = {"dtype": like.dtype, "device": like.device}
        (n, m), (first, second) = shape, (2 * torch.pi / spacing for spacing in spacings)
        rows = first * torch.fft.fftfreq(n, **options)[:, None]
        columns = second * torch.fft.rfftfreq(m, **options)[None]
        self.squares = rows**2 + columns**2
        self.inverse = torch.where(self.squares > 0, 1 / self.squares, 0)
        self.slopes = [
            1j * torch.where(torch.arange(k.numel(), device=k.device).reshape(k.shape) * 2 == size, 0, k)
            for k, size in ((rows, n), (columns, m))
        ]

    def __call__(self, w: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(w)
        along_x, along_y = self.slopes
        stream = self.inverse * spectrum
        parts = (along_y * stream, -along_x * stream, along_x * spectrum, along_y * spectrum)
        of_x, of_y, w_x, w_y = (torch.fft.irfft2(part, s=self.shape) for part in parts)
        smoothed = torch.fft.irfft2(-self.squares * spectrum, s=self.shape)
        return self.viscosity * smoothed - of_x * w_x - of_y * w_y


@EQUATIONS.register("navier_stokes_step")
class NavierStokesStep(ImplicitStep):
    r"""One step in time of the vorticity of a flow on a torus, from w0 to h, a nonlinear equation.

    .. math:: h - w_0 + \Delta t \left(u(m) \cdot \nabla m - \nu \Delta m\right) = \Delta t f
              \qquad m = (1 - \theta) w_0 + \theta h

    Velocities and derivatives are spectral; see `SpectralFlow`.

    Args:
        dt: the length of the step.
        viscosity: nu >= 0.
        forcing: whether f is in channel 1 of x; otherwise f = 0.
        theta: 1/2 for the implicit midpoint rule, 1 for implicit Euler.

    Shapes:
        - x: ``(B, C, n, m)`` with w0 in channel 0; h: ``(B, 1, n, m)``

    Example:
        >>> from neuralop_irno.domain.grid import GridDomain
        >>> x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
        >>> NavierStokesStep(dt=0.1, viscosity=0.01).bind(x, GridDomain.of(x))(x).abs().max().item()
        0.0
    """

    def __init__(self, dt: float, viscosity: float, forcing: bool = False, theta: float = 0.5) -> None:
        check_least(0, 0.001, viscosity=viscosity)
        super().__init__(dt, theta)
        self.viscosity, self.forcing = viscosity, forcing

    def rate(self, x: Tensor, domain: Domain) -> Map:
        spacings = spacings_of(domain)
        if len(spacings) != 2:
            wanted = "a torus of two axes for navier_stokes_step"
            raise ValueError(expected(wanted, f"{len(spacings)} axes", "x as (B, C, n, m)"))
        flow = SpectralFlow(self.viscosity, tuple(x.shape[2:]), spacings, x)
        force = channel(x, 1, "f") if self.forcing else None
        return lambda m: flow(m) if force is None else flow(m) + force
