"""Make the moments of the model `talk`'s training again: python recipes/talk/make.py

Trains it as `pellucid train talk --snapshots 29` does, and writes what the package ships beside
it, src/pellucid/embedded/talk/snapshots/: on one machine the same files each time. Another
processor adds in another order, which after some hundred steps shows in every weight; how far
from the shipped model this training ends is said.
"""

from __future__ import annotations

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
        moments = {step: checkpoint.load(path) for step, path in kept(Path(folder)).items()}
    shipped, ended = checkpoint.load("talk").tensors, moments[trainer.step].tensors
    apart = max(float(np.abs(ended[name] - shipped[name]).max()) for name in shipped)
    folder = embedded.FOLDER / "talk" / "snapshots"
    pack(folder, moments, losses)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"Wrote {folder}: {size:,} bytes. It ends {apart:.3g} from the shipped model at most.")


if __name__ == "__main__":
    main()
