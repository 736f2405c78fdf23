"""Boosted trees of LightGBM on the features that `datapin run featurize` made, stopped by the split val.

As a stage of dvc.yaml, in the place of `train`; needs `pip install "lightgbm>=4.3"`:

    train:
      cmd: python train.py
      deps: [data/features, train.py]
      params: [train]
      outs: [models/model.txt, reports/predictions.parquet]
      metrics: [{reports/metrics.json: {cache: false}}, {reports/run.json: {cache: false}}]
      plots: [{reports/plots/history.csv: {cache: false, x: round, y: val_loss}}]
"""

import lightgbm
import numpy as np

import datapin


def features(rows: datapin.Dataset) -> np.ndarray:
    """float32 [n, d], in key order."""
    column = rows.column("features")
    return column.flatten().to_numpy().reshape(len(rows), -1)


with datapin.training("data/features", model="models/model.txt") as run:
    # One thread and rows in key order: sums have one order, so the same model to the last byte.
    settings = {
        "objective": "multiclass", "num_class": len(run.classes), "seed": run.seed, "num_threads": 1,
        "deterministic": True, "force_row_wise": True, "verbosity": -1, "min_data_in_leaf": 5,
        "learning_rate": run.params.get("learning_rate", 0.1),
    }  # fmt: skip
    learnt = lightgbm.Dataset(features(run.fit), run.codes(run.fit))
    watched = lightgbm.Dataset(features(run.split("val")), run.codes(run.split("val")), reference=learnt)
    told: dict[str, dict[str, list[float]]] = {}
    model = lightgbm.train(
        settings, learnt, num_boost_round=run.params.get("rounds", 200), valid_sets=[watched], valid_names=["val"],
        callbacks=[lightgbm.early_stopping(10, verbose=False), lightgbm.record_evaluation(told)],
    )  # fmt: skip
    for number, loss in enumerate(told["val"]["multi_logloss"], 1):
        run.log(round=number, val_loss=loss)
    run.metric("rounds", model.best_iteration)
    for split in ("val", "test"):
        run.predict(split, probabilities=model.predict(features(run.split(split)), num_iteration=model.best_iteration))
    run.save(model.model_to_string(num_iteration=model.best_iteration).encode())
