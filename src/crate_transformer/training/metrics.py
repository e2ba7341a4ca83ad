"""The record of a run, one JSON object a line."""

import json
import math
from pathlib import Path

from crate_transformer.storage import write_files

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends to ``metrics.jsonl``; what an earlier run wrote after the step where this one starts is dropped.

    ``seconds`` and ``loss`` are those of the last line that was kept.
    """

    def __init__(self, folder: Path, start: int, *, writing: bool = True) -> None:
        self.path, self.writing = folder / FILE, writing
        kept = [record for record in read_metrics(self.path) if record["step"] <= start]
        self.seconds = max((record.get("seconds", 0.0) for record in kept), default=0.0)
        self.loss = next((record["loss"] for record in reversed(kept) if "loss" in record), math.nan)
        if writing:
            write_files(folder, {FILE: "".join(json.dumps(record) + "\n" for record in kept).encode()})

    def write(self, **values: int | float) -> None:
        """Append one line."""
        if not self.writing:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise OSError(f"{self.path} could not be written: {error.strerror or error}") from error


def read_metrics(path: Path) -> list[dict[str, int | float]]:
    """Every whole line; one that a crash or a full disk cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records
