"""Measurements of a frozen model, returned as frozen dataclasses of arrays together with their controls."""

from crate_transformer.inspection.attention import AttentionMaps, attention_maps
from crate_transformer.inspection.class_mask import class_mask
from crate_transformer.inspection.classify import class_names, classify
from crate_transformer.inspection.controls import untrained_twin, untrained_twins
from crate_transformer.inspection.effects import (
    HeadEffects,
    ReferenceMeans,
    head_effects,
    num_atoms,
    probabilities_without,
    reference_means,
)
from crate_transformer.inspection.energies import EnergySteps, energy_steps, has_energies
from crate_transformer.inspection.foreground import (
    Foreground,
    foreground,
    map_separation,
    threshold_entries,
    threshold_mass,
    threshold_otsu,
)
from crate_transformer.inspection.frozen import batches, frozen, to_model
from crate_transformer.inspection.heads import HeadSummary, head_summary
from crate_transformer.inspection.intervene import intervene
from crate_transformer.inspection.layerwise import LayerwiseObjective, layerwise_objective
from crate_transformer.inspection.look import Look, has_attention, look, whole_picture
from crate_transformer.inspection.maskcut import MaskCut, ObjectCuts, cut_objects, maskcut
from crate_transformer.inspection.model_report import Inside, look_inside
from crate_transformer.inspection.patches import LUMINANCE, on_grid, patch_luminance, upsample
from crate_transformer.inspection.pca import FeaturePCA, feature_pca
from crate_transformer.inspection.projection import PatchFeatures, patch_features
from crate_transformer.inspection.reader import preprocessing_of
from crate_transformer.inspection.record import record
from crate_transformer.inspection.rollout import attention_rollout
from crate_transformer.inspection.semantics import HeadSemantics, LabelMatches, head_semantics
from crate_transformer.inspection.steps import LayerSteps, SparseDescent, Steps, layer_steps
from crate_transformer.inspection.subspaces import DictionaryGeometry, Geometry, SubspaceGeometry, subspace_geometry

__all__ = [
    "LUMINANCE",
    "AttentionMaps",
    "DictionaryGeometry",
    "EnergySteps",
    "FeaturePCA",
    "Foreground",
    "Geometry",
    "HeadEffects",
    "HeadSemantics",
    "HeadSummary",
    "Inside",
    "LabelMatches",
    "LayerSteps",
    "Look",
    "LayerwiseObjective",
    "MaskCut",
    "ObjectCuts",
    "PatchFeatures",
    "ReferenceMeans",
    "SparseDescent",
    "Steps",
    "SubspaceGeometry",
    "attention_maps",
    "attention_rollout",
    "batches",
    "class_mask",
    "class_names",
    "classify",
    "cut_objects",
    "energy_steps",
    "feature_pca",
    "foreground",
    "frozen",
    "has_attention",
    "has_energies",
    "head_effects",
    "head_semantics",
    "head_summary",
    "intervene",
    "layer_steps",
    "layerwise_objective",
    "look",
    "look_inside",
    "map_separation",
    "maskcut",
    "num_atoms",
    "on_grid",
    "patch_features",
    "patch_luminance",
    "preprocessing_of",
    "probabilities_without",
    "record",
    "reference_means",
    "subspace_geometry",
    "threshold_entries",
    "threshold_mass",
    "threshold_otsu",
    "to_model",
    "untrained_twin",
    "untrained_twins",
    "upsample",
    "whole_picture",
]
