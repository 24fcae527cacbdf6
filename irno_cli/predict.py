"""``irno predict``: the refined answers to the fields of a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from irno_cli.options import above_zero, add_base, add_common, base_of, count, names, result

HELP = "write the refined answers to the fields of a file"
DESCRIPTION = (
    "Reads x, and whatever else the base takes, from arrays (.npz, .safetensors, .pt, HDF5, NetCDF, Zarr), "
    "or fields on meshes (the formats of meshio, .vtkhdf, .pvd), or a folder of such files, and writes the "
    "answers of the model of a run folder. Of a model trained on own files (data: files or mesh_files) the "
    "variables are those of its config, and NetCDF keeps dimensions, coordinates and units. Arrays: y, and "
    "for each sample the steps, whether it converged, and the error estimate of a calibrated model. Meshes: "
    "the cells of the file with the answer; of a series a .vtkhdf file. If the model has error bands, they "
    "are written too: error_band beside y, <name>_error beside named fields. Existing files are not replaced."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument("folder", type=Path, help="a run folder, or one that save_pretrained wrote")
    command.add_argument("input", type=Path, help="a file of arrays, a mesh, or a folder of such files")
    command.add_argument(
        "--to", type=Path, required=True, help="the file, or for a folder the folder, to write"
    )
    command.add_argument(
        "--fields",
        type=names,
        default=(),
        help="arrays to read (default: all but y), or fields of meshes: u,v",
    )
    command.add_argument(
        "--names",
        type=names,
        default=(),
        help="of the answer's channels on meshes, or of its variables: p,q",
    )
    command.add_argument("--batch-size", type=count, default=16, help="samples per call (default: 16)")
    command.add_argument("--steps", type=count, help="number of steps (default: the model's K)")
    command.add_argument(
        "--rtol", type=above_zero("1e-3"), default=0.0, help="stop each sample at this tolerance"
    )
    command.add_argument(
        "--max-steps", type=count, help="with --rtol: maximum number of steps (default: 100)"
    )
    command.add_argument(
        "--patches",
        type=count,
        metavar="SIZE",
        help="evaluate the correction in patches of this many cells a side",
    )
    add_base(command)
    add_common(command)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from tqdm import tqdm

    from neuralop_irno.prediction import predict
    from neuralop_irno.training.run import read_model, read_options_of_files

    model = read_model(options.folder, options.device, base_of(options))
    if options.patches is not None:
        model = model.in_patches(options.patches)
    with tqdm(desc="predicting", unit="sample", disable=options.json or not sys.stderr.isatty()) as bar:

        def watch(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = predict(
            model,
            options.input,
            options.to,
            fields=options.fields,
            names=options.names,
            batch_size=options.batch_size,
            watch=watch,
            data=read_options_of_files(options.folder),
            steps=options.steps,
            rtol=options.rtol,
            max_steps=options.max_steps,
        )
    content = {
        "files": [str(file) for file in found.files],
        "samples": found.samples,
        "evaluations": found.evaluations,
        "left_out": list(found.left_out),
        "outcomes": {outcome.name.lower(): n for outcome, n in found.outcomes.items()},
    }
    lines = [f"{found.samples} samples written to {options.to}, {found.evaluations} evaluations of Phi"]
    lines += [f"  {n} samples: {outcome.value}" for outcome, n in found.outcomes.items()]
    if found.left_out:
        lines.append(f"  not read: {', '.join(found.left_out)}, which are neither arrays nor meshes")
    result(options, content, "\n".join(lines))
