"""A small CNN on a CPU. The rows come in the same order for any number of workers, so the weights are the same, too.

As a stage of dvc.yaml, in the place of `train`:

    train:
      cmd: python train.py
      deps: [data/augmented, train.py]
      params: [train]
      outs: [models/model.pt, reports/predictions.parquet]
      metrics: [{reports/metrics.json: {cache: false}}, {reports/run.json: {cache: false}}]
"""

import io
import os

import numpy as np
import torch
from PIL import Image
from torch import nn

import datapin
from datapin.torch import loader


def image(data: bytes) -> torch.Tensor:
    """float32 [1, height, width], from 0 to 1."""
    return torch.from_numpy(np.asarray(Image.open(io.BytesIO(data)).convert("L"), dtype=np.float32) / 255)[None]


with datapin.training("data/augmented", model="models/model.pt") as run:
    torch.manual_seed(run.seed)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    number = {name: n for n, name in enumerate(run.classes)}
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(8),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool2d(4), nn.Flatten(),
        nn.Linear(256, len(number)),
    )  # fmt: skip
    adam = torch.optim.Adam(net.parameters(), lr=run.params.get("lr", 0.003))
    batches = loader(
        run.fit, 32, seed=run.seed, num_workers=int(os.environ.get("WORKERS", "0")),
        sample=lambda data, row: (image(data), number[row["label"]]),
    )  # fmt: skip
    for epoch in range(run.params.get("epochs", 5)):
        total = 0.0
        for images, labels in batches:
            adam.zero_grad()
            loss = nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            adam.step()
            total += loss.item()
        run.log(epoch=epoch, loss=total)
    with torch.no_grad():
        for split in ("val", "test"):
            images = torch.stack([image(one.read()) for one in run.split(split)])
            run.predict(split, probabilities=net(images).softmax(1).numpy())
    weights = io.BytesIO()
    np.savez(weights, **{name: value.numpy() for name, value in net.state_dict().items()})  # no pickle, same bytes
    run.save(weights.getvalue())
