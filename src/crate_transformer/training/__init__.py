"""The training engine: one loop over any objective ``loss(model, batch)``, optimisers and schedules."""
