"""Integrations with timm and transformers, both optional; importing one registers the models there."""
