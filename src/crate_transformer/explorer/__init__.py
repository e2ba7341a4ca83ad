"""An interactive page that shows what every head, layer and atom of a model does with pictures."""

from crate_transformer.explorer.collect import collect
from crate_transformer.explorer.notebook import Exploration, explore
from crate_transformer.explorer.page import explorer_page
from crate_transformer.explorer.views import Reference

__all__ = ["Exploration", "Reference", "collect", "explore", "explorer_page"]
