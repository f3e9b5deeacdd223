"""LitServe: python litserve_app.py PORT."""

import sys
from typing import Any

import estimators
import litserve


class Bench(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.models = {name: estimators.load(name) for name in estimators.SHIPPED}

    def decode_request(self, request):  # LitServe takes an annotation here for a FastAPI one
        return request

    def predict(self, request: dict[str, Any]) -> Any:
        return self.models[request["model"]].predict(request["instances"])

    def encode_response(self, output):
        return {"predictions": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Bench(), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
