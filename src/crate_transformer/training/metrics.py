"""The record of a run, one JSON object a line."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from crate_transformer.storage import read_file, write_file

FILE = "metrics.jsonl"

Record = dict[str, int | float]


class MetricsLog:
    """Appends to ``metrics.jsonl``; what an earlier run wrote after the step where this one starts is dropped.

    Nothing is written before there is something to tell. ``earlier_seconds`` is the time that earlier sessions took.
    """

    send: Callable[[Record], object] | None = None
    """Also called with every record that is written."""

    def __init__(self, folder: Path, start: int, *, writing: bool = True) -> None:
        self.path, self.writing = folder / FILE, writing
        self.records = [record for record in read_metrics(self.path) if record["step"] <= start]
        self.earlier_seconds = max((record.get("seconds", 0.0) for record in self.records), default=0.0)
        self._begun = False

    @property
    def loss(self) -> float:
        """The last loss, or NaN."""
        return next((record["loss"] for record in reversed(self.records) if "loss" in record), math.nan)

    @property
    def first_loss(self) -> float | None:
        """The first loss."""
        return next((record["loss"] for record in self.records if "loss" in record), None)

    def values(self, name: str) -> dict[int, float]:
        """The value of this name by step."""
        return {int(record["step"]): record[name] for record in self.records if name in record}

    def write(self, **values: object) -> None:
        """Append one line; what is no finite number is left out."""
        record = {name: v for name, v in values.items() if isinstance(v, int | float) and math.isfinite(v)}
        self.records.append(record)
        if not self.writing:
            return
        if not self._begun:
            write_file(self.path, "".join(map(_line, self.records)).encode())
            self._begun = True
        else:
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(_line(record))
            except OSError as error:
                raise OSError(f"{self.path} could not be written: {error.strerror or error}") from error
        if self.send is not None:
            self.send(record)


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"


def read_metrics(path: Path) -> list[Record]:
    """Every whole line; a last one that a crash or a full disk cut short is left out.

    Raises:
        ValueError: a line is not the record of a step.
    """
    *lines, _cut_short = read_file(path).split(b"\n") if path.exists() else [b""]
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = msgspec.json.decode(line, type=Record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            record = {}
        if "step" not in record:
            raise ValueError(f"line {number} of {path} is no record of a step: remove the line or the file")
        records.append(record)
    return records


def metrics_csv(records: Sequence[Record]) -> bytes:
    """The records as a table with a column for every name, which is empty where a record has no such number."""
    names = dict.fromkeys(name for record in records for name in record)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(records)
    return text.getvalue().encode()
