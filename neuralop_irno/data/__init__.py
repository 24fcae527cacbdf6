"""Data sets: readers of files, and solvers that generate data. Importing it registers them by name."""

from neuralop_irno.data import readers as readers
from neuralop_irno.data import solvers as solvers
