"""How large the pieces are and how many are under way: as much as is answered quickly. Runs on a client's machine."""

from __future__ import annotations

FIRST_ROWS = 500
SECONDS = 0.25  # that a piece should take
MOST_ROWS = 100_000
MOST_BYTES = 900_000  # below the load balancers' limit, 1 MB unless it is set
SLOWER = 2.0  # a time per row of so many times the best one means that others use the fleet


class Pace:
    """What the next piece may be, by the answers so far; at most `most` pieces are under way at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._best = float("inf")
        self.rows = FIRST_ROWS
        self.most_bytes = MOST_BYTES
        self.under_way = 1

    def answered(self, rows: int, seconds: float, refusals: int) -> None:
        """Note the answer to a piece, and how often the piece was refused before for lack of capacity."""
        per_row = max(seconds, 1e-6) / rows
        if refusals:
            self.under_way = max(1, self.under_way // 2)
        elif per_row > SLOWER * self._best and rows >= self.rows // 2:
            self.under_way = max(1, self.under_way - 1)
        else:
            self.under_way = min(self._most, self.under_way + 1)
        if rows >= self.rows // 2:  # the last piece says little
            # A fleet may become slower for good, so what was best is forgotten little by little.
            self._best = min(1.02 * self._best, per_row)
            factor = min(2.0, max(0.5, SECONDS / max(seconds, 1e-6)))
            self.rows = max(1, min(MOST_ROWS, round(self.rows * factor)))

    def too_large(self, size: int, rows: int) -> None:
        """Note that a piece of so many bytes and rows was refused as too large."""
        self.most_bytes = max(1, min(self.most_bytes, size // 2))
        self.rows = max(1, min(self.rows, rows // 2))
