"""MLServer: write the folder `mlserver start` serves: python mlserver_prepare.py FOLDER PORT."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import estimators
import joblib

folder, port = Path(sys.argv[1]), int(sys.argv[2])
for name in estimators.NAMES:
    (folder / name).mkdir(parents=True)
    joblib.dump(estimators.load(name), folder / name / "model.joblib")
    settings = {
        "name": name,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
    }
    (folder / name / "model-settings.json").write_text(json.dumps(settings))
ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
(folder / "settings.json").write_text(
    json.dumps({"host": "127.0.0.1", "parallel_workers": 2, "debug": False} | ports)
)
