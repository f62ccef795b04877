"""Make the moments of the model `talk`'s training again: python recipes/talk/make.py

Trains it as `pellucid train talk --snapshots 29` does, and writes what the package ships beside
it, src/pellucid/embedded/talk/snapshots/. The weights that it ends with must be the shipped ones,
bit for bit; else nothing is written, and the largest difference is said.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from pellucid import checkpoint, embedded
from pellucid.history import pack
from pellucid.train.config import TalkConfig
from pellucid.train.run import trainer_for
from pellucid.train.snapshots import kept

MOMENTS = 29  # as many as stay below 1 MB, in float32


def main() -> None:
    with TemporaryDirectory() as folder:
        trainer = trainer_for(TalkConfig(out=folder, snapshots=MOMENTS))
        losses = [report.loss for report in trainer]  # each before its step
        rows = trainer.task.take(0, trainer.config.batch)
        last = trainer.measure(lambda model, *part: trainer.task.loss(model, part)[0], rows)
        losses.append(float(last) / trainer.task.count(rows))
        moments = {step: checkpoint.load(path).tensors for step, path in kept(Path(folder)).items()}
    shipped = checkpoint.load("talk").tensors
    ended = moments[trainer.step]
    apart = max(float(np.abs(ended[name] - shipped[name]).max()) for name in shipped)
    if apart:
        sys.exit(f"this training ends {apart:.2e} from the model that is shipped: nothing is written")
    folder = embedded.FOLDER / "talk" / "snapshots"
    pack(folder, moments, losses)
    print(f"Wrote {folder}: {sum(path.stat().st_size for path in folder.iterdir()):,} bytes")


if __name__ == "__main__":
    main()
