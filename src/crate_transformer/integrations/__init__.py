"""Optional integrations with timm and transformers; importing one registers the models."""
