"""Tables of numbers, for the page and for the terminal."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from crate_transformer.storage import printable


@dataclass(frozen=True)
class Table:
    """Rows under column names; the first cell of a row is its name.

    Args:
        rows: cells are text, integers, floats (shown with three decimals), or ``None`` and NaN (shown as a dash).
        highlight: indices of the rows to highlight.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    highlight: Collection[int] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"the row {list(row)} has {len(row)} cells for {len(self.columns)} columns")

    def is_numeric(self, column: int) -> bool:
        """Whether every cell of a column is a number or missing."""
        return bool(self.rows) and all(is_number(row[column]) for row in self.rows)


def is_number(cell: object) -> bool:
    """Whether a cell is right-aligned."""
    return cell is None or (isinstance(cell, (int, float, np.number)) and not isinstance(cell, bool))


def format_cell(cell: object) -> str:
    """The displayed text of a cell; text keeps its type, so that markup stays markup."""
    if cell is None or cell != cell:
        return "\N{EN DASH}"
    if isinstance(cell, (float, np.floating)):
        return f"{cell:.3f}"
    if isinstance(cell, (int, np.integer)) and not isinstance(cell, bool):
        return f"{cell:,}"
    return cell if isinstance(cell, str) else str(cell)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a table on standard output, in the same number format as on the page; texts are not parsed as markup."""
    table = Table(columns, rows)
    shown = RichTable(title=_text(title) if title else None, title_justify="left")
    for index, name in enumerate(columns):
        shown.add_column(_text(name), justify="right" if table.is_numeric(index) else "left")
    for row in table.rows:
        shown.add_row(*(_text(format_cell(cell)) for cell in row))
    print_rich(shown)


def print_rich(table: RichTable) -> None:
    """Print a rich table; printed by rich itself, a closed pipe would end the program."""
    console = Console()
    with console.capture() as drawn:
        console.print(table)
    print(drawn.get(), end="")


def _text(text: str) -> Text:
    """Text without rich markup and terminal control characters."""
    return Text(printable(text))
