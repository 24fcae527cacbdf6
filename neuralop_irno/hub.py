"""Refiners in folders that stand alone, and on the Hugging Face Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from torch import nn

from neuralop_irno import checkpoint, digest, stored_base
from neuralop_irno.errors import expected, from_extra, in_grammar
from neuralop_irno.model_card import CARD, Contents, RunFiles, card, is_card
from neuralop_irno.persistence import Persistent, split_state
from neuralop_irno.sharded import whole, writes_files

MODEL = f"model{checkpoint.SUFFIX}"
"""The file of a model, in a folder and in a repository of the Hub."""

DOWNLOADED = [MODEL, f"base-*{checkpoint.SUFFIX}"]
"""The only files of a repository that are downloaded."""


class OnHub(Persistent):
    """A mixin that saves a refiner to a folder and to the Hub, and loads it from there."""

    def save_pretrained(
        self, folder: str | os.PathLike[str], run: str | os.PathLike[str] | None = None
    ) -> Path:
        """Write ``model.safetensors`` with all weights, also the base's, and a model card ``README.md``.

        A ``README.md`` that is no such card is left as it is.

        Args:
            folder: where to write; it stands alone.
            run: the folder of the run in which this model was trained. The card has the validation scores,
                and what ``irno check`` and ``irno diagnose`` measured of the same weights; without it none.

        Raises:
            ValueError: the model of the run has other weights; or the folder to write is that of a run.
        """
        target, files = Path(folder), None if run is None else self._files_of(Path(run))
        if target.exists() and not target.is_dir():
            raise ValueError(expected("a folder to write to", f"the file {target}", "another path"))
        if any(target.glob("snapshot*")):
            # The snapshots of a run name the weights of its model, which would be replaced.
            raise ValueError(expected("a folder without a run", str(target), "another folder"))
        self.save(target / MODEL, None if files is None else files.notes, with_base=True)
        if writes_files(self.parameters()) and (not (target / CARD).exists() or is_card(target / CARD)):
            with in_grammar(f"reports in {run} that are whole", "writing them again, or no run"):
                text = card(self._contents(), files, target.name)
            checkpoint.write_bytes(target / CARD, text.encode())
        return target

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        *,
        map_location: Any = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        **parts: Any,
    ) -> Self:
        """The model in a folder, or in a repository of the Hub, in evaluation mode.

        Only safetensors files are downloaded. They are never unpickled, and run no code; a base or another
        part that is no registered one has to be given.

        Args:
            source: a folder of `save_pretrained` or of a run; or the id of a repository, ``owner/name``,
                which needs ``pip install 'neuralop_irno[hub]'``.
            map_location: the device of the model.
            revision: a branch, tag or commit of the repository.
            token: for private repositories; by default that of ``hf auth login``.
            cache_dir: where downloads are kept; by default the cache of huggingface_hub.
            local_files_only: read the cache only.
            force_download: download again what is in the cache.
            parts: as for `from_checkpoint`.
        """
        place = Path(source)
        if place.is_file():
            hint = f"IterativeRefiner.from_checkpoint({str(source)!r})"
            raise ValueError(expected("a folder, or the id of a repository", f"the file {source}", hint))
        if not place.is_dir():
            with from_extra(f"the folder {source}, or huggingface_hub for repositories of the Hub", "hub"):
                from huggingface_hub import snapshot_download
            with in_grammar(f"a folder or a repository {source}", "the path of a folder, or owner/name"):
                place = Path(
                    snapshot_download(
                        str(source),
                        revision=revision,
                        token=token,
                        cache_dir=cache_dir,
                        local_files_only=local_files_only,
                        force_download=force_download,
                        allow_patterns=DOWNLOADED,
                    )
                )
        return cls.from_checkpoint(place / MODEL, map_location=map_location, **parts).eval()

    def push_to_hub(
        self,
        repo_id: str,
        run: str | os.PathLike[str] | None = None,
        *,
        private: bool | None = None,
        token: str | None = None,
        commit_message: str = "A refiner of neuralop_irno",
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to a repository, which is made if it does not exist.

        Needs ``pip install 'neuralop_irno[hub]'``.

        Args:
            repo_id: ``owner/name``.
            run: as for `save_pretrained`.
            private: whether a new repository is private; by default that of the owner.
            token: by default that of ``hf auth login``.
            commit_message: of the upload.
            branch: to which it is uploaded; by default the main one.
            create_pr: whether to open a pull request with it.

        Returns:
            the address of the commit.
        """
        with from_extra("huggingface_hub for uploads", "hub"):
            from huggingface_hub import ModelHubMixin
        model = self

        class Upload(ModelHubMixin):
            def _save_pretrained(self, save_directory: Path) -> None:
                model.save_pretrained(save_directory, run)

        address: str = Upload().push_to_hub(
            repo_id,
            private=private,
            token=token,
            commit_message=commit_message,
            branch=branch,
            create_pr=create_pr,
        )
        return address

    def _files_of(self, run: Path) -> RunFiles:
        """The files of the run in which this model was trained."""
        tensors, content = checkpoint.read(run / MODEL)
        own, (_, base) = whole(self.state_dict()), split_state(self)
        weights = digest.of_tensors(tensors)
        same = weights == digest.of_tensors({name: own[name] for name in tensors if name in own})
        if not same or stored_base.reference(content, MODEL) not in (None, digest.of_tensors(base)):
            hint = "the run of this model, or no run, for a card without figures"
            raise ValueError(expected(f"the model of the run {run}", "one with other weights", hint))
        notes = content.get("notes")
        return RunFiles(run, notes if isinstance(notes, dict) else {}, weights)

    def _contents(self) -> Contents:
        parts: dict[str, Any] = {name: getattr(self, name) for name in ("base", "correction", "solver")}
        parameters = {
            name: sum(weight.numel() for weight in part.parameters())
            for name, part in parts.items()
            if isinstance(part, nn.Module)
        }
        config: Any = self.config
        return Contents(config, parameters, str(self.resolution), self.calibration, self.bands)
