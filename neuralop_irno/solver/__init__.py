"""Solvers, step sizes, stopping, gradient rules, and the loop that all of them share.

Importing this subpackage registers its solvers, step sizes and gradient rules.
"""

from neuralop_irno.solver import aitken as aitken
from neuralop_irno.solver import amg as amg
from neuralop_irno.solver import anderson as anderson
from neuralop_irno.solver import auxiliary_grid as auxiliary_grid
from neuralop_irno.solver import backtracking as backtracking
from neuralop_irno.solver import best_so_far as best_so_far
from neuralop_irno.solver import broyden as broyden
from neuralop_irno.solver import denoising as denoising
from neuralop_irno.solver import fcg as fcg
from neuralop_irno.solver import fgmres as fgmres
from neuralop_irno.solver import flow as flow
from neuralop_irno.solver import gradient as gradient
from neuralop_irno.solver import implicit as implicit
from neuralop_irno.solver import minres as minres
from neuralop_irno.solver import multigrid as multigrid
from neuralop_irno.solver import newton_krylov as newton_krylov
from neuralop_irno.solver import picard as picard
from neuralop_irno.solver import step_size as step_size
