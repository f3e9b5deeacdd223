"""Score a file: read, send, write and keep the pace. Runs on a client's machine."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from model_endpoint.packing.scoring.bar import Bar
from model_endpoint.packing.scoring.client import Client, Scored, Target
from model_endpoint.packing.scoring.output import Output
from model_endpoint.packing.scoring.pace import Pace
from model_endpoint.packing.scoring.records import Piece, Records


def score(target: Target, source: Path, path: Path, connections: int, restart: bool) -> int:
    """Write the prediction of each row of `source` to `path`, and return their number.

    Goes on where an earlier call for the same files was cut off, unless `restart`. Raises BundleError.
    """
    target.connect()  # says what is wrong with the URL
    records = Records(source)
    output = Output(path, source, restart)
    bar = Bar(records.size)
    try:
        records.skip(output.progress.rows)
        _send_all(target, records, output, Pace(connections), bar, connections)
        output.finish()
    finally:
        bar.end()
        output.close()
        records.close()
    return output.progress.rows


def _send_all(
    target: Target, records: Records, output: Output, pace: Pace, bar: Bar, connections: int
) -> None:
    own = threading.local()

    def send(piece: Piece) -> Scored:
        if not hasattr(own, "client"):
            own.client = Client(target, records.header, pace.too_large)
        answer: Scored = own.client.score(piece)
        return answer

    pending: deque[tuple[Piece, Future[Scored]]] = deque()
    position = 0
    with ThreadPoolExecutor(connections) as pool:
        try:
            while True:
                while len(pending) < pace.under_way and (piece := records.take(pace.rows, pace.most_bytes)):
                    pending.append((piece, pool.submit(send, piece)))
                if not pending:
                    break
                piece, future = pending.popleft()
                answer = future.result()
                output.write(answer)
                pace.answered(len(piece.records), answer.seconds, answer.refusals)
                position = piece.end
                bar.show(output.progress.rows, position, pace.under_way)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    bar.show(output.progress.rows, position, pace.under_way, last=True)
