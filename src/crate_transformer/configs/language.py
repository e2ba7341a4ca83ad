"""Language models."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """Predicting each next token of a text."""
