"""A linear classifier that never holds the images: they come in batches from packs, in the order of the epoch.

As a stage of dvc.yaml, in the place of `train`:

    train:
      cmd: python train.py
      deps: [data/augmented, train.py]
      params: [train]
      outs: [models/model.skops, reports/predictions.parquet]
      metrics: [{reports/metrics.json: {cache: false}}, {reports/run.json: {cache: false}}]
"""

import io

import numpy as np
from PIL import Image
from sklearn.linear_model import SGDClassifier

import datapin


def pixels(contents: list[bytes]) -> np.ndarray:
    """float64 [n, height * width], from 0 to 1."""
    return np.stack([np.asarray(Image.open(io.BytesIO(one)).convert("L")).ravel() / 255 for one in contents])


with datapin.training("data/augmented", model="models/model.skops") as run:
    model = SGDClassifier(loss="log_loss", random_state=run.seed)
    codes, classes = run.codes(run.fit), np.arange(len(run.classes))
    for epoch in range(run.params.get("epochs", 5)):
        for batch in run.fit.batches(64, shuffle=run.seed, epoch=epoch):
            model.partial_fit(pixels(batch.read()), codes[batch.indices], classes=classes)
    for split in ("val", "test"):
        stated = [model.predict_proba(pixels(batch.read())) for batch in run.split(split).batches(256)]
        run.predict(split, probabilities=np.concatenate(stated))
    run.save(datapin.dump_model(model))
