"""File access: bounded reading of untrusted files, atomic writing, and escaping of text for display."""

from crate_transformer.storage.reading import open_file, read_file
from crate_transformer.storage.records import (
    as_record,
    json_bytes,
    json_limit,
    json_text,
    parse_json,
    plain,
    read_json,
    read_record,
    write_json,
)
from crate_transformer.storage.text import file_stem, markdown, printable
from crate_transformer.storage.writing import recover, write_file, write_files

__all__ = [
    "as_record",
    "file_stem",
    "json_bytes",
    "json_limit",
    "json_text",
    "markdown",
    "open_file",
    "parse_json",
    "plain",
    "printable",
    "read_file",
    "read_json",
    "read_record",
    "recover",
    "write_file",
    "write_files",
    "write_json",
]
