"""MLflow's own server on a sqlite store: forks of one process that has imported it once.

    python -m tests.trackers.mlflow_server FOLDER PORT

It takes a line for each thing to do, and answers each with one:

    start      a server begins; one that is there is killed
    start 3    it dies when it has done what the third request asks for, before it answers
    kill       the server is killed
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

folder, port = Path(sys.argv[1]), int(sys.argv[2])
os.environ["_MLFLOW_SERVER_FILE_STORE"] = f"sqlite:///{folder / 'store.db'}"
os.environ["_MLFLOW_SERVER_ARTIFACT_DESTINATION"] = str(folder / "artifacts")
os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = "mlflow-artifacts:/"
os.environ["_MLFLOW_SERVER_SERVE_ARTIFACTS"] = "true"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

from mlflow.server import app  # noqa: E402
from mlflow.server.handlers import _get_tracking_store  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402


def forked(deed: Callable[[], object]) -> int:
    process = os.fork()
    if process == 0:
        try:
            deed()
        finally:
            os._exit(0)
    return process


def serve(last: int | None = None) -> None:
    requests = itertools.count(1)

    def answer(environ: Any, begin: Any) -> Any:
        number = next(requests)
        whole = list(app(environ, begin))
        if number == last:
            os._exit(1)
        return whole

    make_server("127.0.0.1", port, answer, threaded=True).serve_forever()


# What is slow at first is done once, here. No two processes may share a connection.
app.test_client().post(
    "/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"], "filter": "tags.a = 'b'"}
)
_get_tracking_store().engine.dispose()
print("ready", flush=True)
server: int | None = None
for line in sys.stdin:
    word, *rest = line.split()
    if server is not None:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
        server = None
    if word == "start":
        server = forked(partial(serve, *map(int, rest)))
    print(word, flush=True)
