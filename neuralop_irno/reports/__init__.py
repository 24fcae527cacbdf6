"""Reports of runs, studies, rollouts and diagnoses as HTML pages; see `neuralop_irno.reports.report`."""
