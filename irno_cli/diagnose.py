"""``irno diagnose``: measure the convergence of a trained refiner and the coverage of its error estimate."""

from __future__ import annotations

import argparse

from irno_cli.options import add_run, base_of, count, measured_of, result, share

HELP = "measure the convergence of a refiner, calibrate its error estimate"
DESCRIPTION = (
    "Measures m, M, q and |b| at the truth, predicted and observed error floors and steps, errors by "
    "step, by frequency and by resolution, and how often the error estimate covers the true error. Writes "
    "diagnosis.json, diagnosis.txt and figures to the folder diagnosis of the run. With --calibrate, "
    "an error estimate is first calibrated on every other trajectory of the test set and stored with "
    "the model, so that solve() returns an error_estimate, and with --share an error_band at each point; "
    "the report then uses the other half."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add_run(command)
    command.add_argument(
        "--samples", type=count, default=16, help="samples to measure m, M, q for (default: 16)"
    )
    command.add_argument("--steps", type=count, help="steps to measure errors for (default: 10 K)")
    command.add_argument(
        "--iterations", type=count, default=30, help="Lanczos steps per eigenvalue (default: 30)"
    )
    command.add_argument("--calibrate", action="store_true", help="calibrate on half of the test set first")
    command.add_argument(
        "--coverage", type=share, default=0.9, help="coverage of the error estimate (default: 0.9)"
    )
    command.add_argument(
        "--share",
        type=share,
        help="with --calibrate: also error bands at each point, which hold on this share of the region",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from neuralop_irno import checkpoint, digest
    from neuralop_irno.claim import claim
    from neuralop_irno.data.resampled import on_grids
    from neuralop_irno.diagnostics.calibration import Part, calibrate, halves, same_samples
    from neuralop_irno.diagnostics.report import diagnose
    from neuralop_irno.errors import expected
    from neuralop_irno.stored_base import REFERENCE
    from neuralop_irno.training.batches import at_once, load_all
    from neuralop_irno.training.folder import MODEL
    from neuralop_irno.training.resolutions import at_resolutions
    from neuralop_irno.training.run import read_run

    if options.share and not options.calibrate:
        raise ValueError(expected("--share beside --calibrate", "--share alone", "--calibrate --share 0.9"))
    experiment, refiner = read_run(options.folder, options.device, base_of(options))
    splits = experiment.splits()
    part = Part.of(splits[options.split])
    if options.calibrate:
        if same_samples(splits["test"], splits["valid"]):
            got = "a test set that is the validation set, which chose the model"
            raise ValueError(expected("held-out samples", got, "a separate test set in the config"))
        first, second = halves(splits["test"])
        batches = (sample for _, sample in load_all(first.data, at_once(refiner)))
        calibrate(refiner, batches, options.coverage, first.groups, options.share)
        with claim(options.folder):  # so that no training replaces the model meanwhile
            weights, content = checkpoint.read(options.folder / MODEL)
            own = refiner.state_dict()
            if digest.of_tensors(weights) != digest.of_tensors({name: own[name] for name in weights}):
                wanted = f"the model in {options.folder} that was calibrated"
                raise ValueError(expected(wanted, "one that was trained on", "diagnosing it again"))
            # In the same form, for which the snapshots have a digest.
            refiner.save(options.folder / MODEL, content.get("notes"), REFERENCE not in content)
        part = second if options.split == "test" else part
    report = diagnose(
        refiner,
        (sample for _, sample in load_all(part.data, at_once(refiner))),
        options.samples,
        options.steps,
        options.iterations,
        show=not options.json,
        groups=part.groups,
    )
    folder = report.write(options.folder / "diagnosis")
    content, text = {**report.to_plain(), **measured_of(options)}, str(report)
    checkpoint.write_json(folder / "diagnosis.json", content)
    if on_grids(part.data):
        table = at_resolutions(refiner, part.data, device=options.device)
        checkpoint.write_json(folder / "resolutions.json", table.to_plain())
        content, text = {**content, "resolutions": table.to_plain()}, f"{text}\n{table}"
    result(options, content, f"{text}\nThe report is in {folder}.")
