"""Linear elements on one triangle, by the closed forms of textbooks."""

import numpy as np
import pytest

from neuralop_irno.data.mesh import TriangleMesh
from neuralop_irno.data.solvers.finite_elements import Elements
from neuralop_irno.domain.elements import LinearElements

CORNERS = np.array([[0.3, 0.1], [1.4, 0.2], [0.7, 1.1]])
WIND = (0.7, -0.4)


def test_the_matrices_of_a_triangle_have_their_closed_forms() -> None:
    """Stiffness by cotangents, mass |T| (1 + I) / 12, advection by the gradients e_i rotated / 2 |T|."""
    (ax, ay), (bx, by), (cx, cy) = CORNERS
    area = ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) / 2
    gradients = np.array([[by - cy, cx - bx], [cy - ay, ax - cx], [ay - by, bx - ax]]) / (2 * area)
    parts = Elements(TriangleMesh(CORNERS, np.array([[0, 1, 2]]), np.ones(3, dtype=bool)), WIND)
    exact = {"rtol": 0, "atol": 1e-14}
    np.testing.assert_allclose(parts.stiffness.toarray(), area * gradients @ gradients.T, **exact)
    np.testing.assert_allclose(parts.mass.toarray(), area / 12 * (np.ones((3, 3)) + np.eye(3)), **exact)
    np.testing.assert_allclose(
        parts.advection.toarray(), np.tile(area / 3 * gradients @ WIND, (3, 1)), **exact
    )


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_gradients_belong_to_functions_that_are_one_at_their_corner(dim: int) -> None:
    pos = np.random.default_rng(dim).random((dim + 1, dim))
    elements = LinearElements(pos, np.arange(dim + 1)[:, None])
    steps = pos - pos[:1]
    values = steps @ elements.gradients[0].T  # of each function at each corner, less that at the first
    np.testing.assert_allclose(values, np.eye(dim + 1) - np.eye(dim + 1)[:1], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        elements.lumped_mass, np.full(dim + 1, elements.volume / (dim + 1)), rtol=1e-14
    )
