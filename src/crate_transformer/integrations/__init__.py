"""Doors to timm and transformers. Both packages are optional; importing a door registers the models there."""
