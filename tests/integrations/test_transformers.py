"""A transformers user does not notice that the models come from here."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from crate_transformer.checkpoints import create_model
from crate_transformer.data import preprocess, read_image
from crate_transformer.inspection import attention_maps
from crate_transformer.models import MODELS, Preprocessing, build_language_model

TAGGED = "crate_mini_patch8_64.tiny_imagenet_100"
every_class = pytest.mark.parametrize("name", {c: name for name, (c, _) in MODELS.items()}.values())


@pytest.fixture
def integration(transformers):
    from crate_transformer.integrations import transformers as integration

    return integration


def small(name="crate_micro_patch4_32", **changes):
    model_class, config = MODELS[name]
    sizes = {"img_size": 16, "patch_size": 4, "embed_dim": 4 * config.num_heads, "depth": 2, "num_classes": 5}
    model = model_class(dataclasses.replace(config, **sizes | changes)).eval()
    model.preprocessing = Preprocessing(img_size=(16, 16), crop_pct=1.0, interpolation="bicubic", mean=(0.5, 0.4, 0.3))
    if model.num_classes:
        model.class_names = tuple("abcde")
    return model


@pytest.fixture
def picture():
    return Image.effect_mandelbrot((90, 60), (-3, -2.5, 2, 2.5), 30).convert("RGB")


@every_class
@pytest.mark.parametrize("num_classes", [5, 0])
def test_there_and_back_and_through_a_folder(integration, transformers, name, num_classes, tmp_path):
    model, images = small(name, num_classes=num_classes, img_size=(16, 24)), torch.randn(2, 3, 16, 24)
    converted = integration.to_transformers(model)
    converted.save_pretrained(tmp_path)
    auto = transformers.AutoModelForImageClassification if num_classes else transformers.AutoModel
    loaded = auto.from_pretrained(tmp_path)
    assert type(loaded) is type(converted)
    assert not loaded.training
    back = integration.from_transformers(loaded)
    assert (type(back), back.config, back.preprocessing) == (type(model), model.config, model.preprocessing)
    assert back.class_names == model.class_names
    with torch.no_grad():
        expected = model(images)
        for other in (converted, loaded):
            answer = other(images)
            assert torch.equal(answer.logits if num_classes else answer.pooler_output, expected)
        assert torch.equal(back(images), expected)
    assert str(tmp_path) in back.provenance.source


def test_the_configuration_speaks_as_transformers_does(integration, transformers, tmp_path):
    integration.to_transformers(small()).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    expected = {"model_type": "crate", "family": "CRATE", "hidden_size": 16, "num_hidden_layers": 2}
    expected |= {"num_attention_heads": 4, "image_size": 16, "num_channels": 3, "patch_size": 4, "step_size": 0.1}
    assert expected.items() <= stored.items()
    config = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (config.num_labels, config.id2label[1], config.label2id["c"]) == (5, "b", 2)
    default = integration.CrateConfig().build(1000)
    assert default.config == MODELS["crate_small_patch16_224"][1]
    fresh = transformers.AutoModelForImageClassification.from_config(config)
    assert fresh.classifier.weight.shape == (5, 16)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"family": "MAMBA"}, "there is no model family 'MAMBA'; choose one of CRATE"),
        ({"hidden_size": 15}, "dim 15 is not a multiple of num_heads 12"),
        ({"image_size": 15}, "img_size 15 is smaller than one patch"),
    ],
)
def test_a_configuration_of_no_model(integration, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        integration.CrateModel(integration.CrateConfig(**changes))


def test_a_language_model_is_refused(integration):
    toy = build_language_model("crate_lm_base", vocab_size=11, context_length=4, embed_dim=8, depth=1, num_heads=2)
    with pytest.raises(ValueError, match="CausalCRATE cannot become a model of transformers: give a vision model"):
        integration.to_transformers(toy)


def test_real_attentions_and_hidden_states(integration):
    model, images = small(), torch.randn(3, 3, 16, 16)
    converted = integration.to_transformers(model)
    with torch.no_grad():
        seen = converted(images, output_attentions=True, output_hidden_states=True)
        plain = converted(images)
    torch.testing.assert_close(seen.logits, plain.logits)
    assert plain.attentions is plain.hidden_states is None
    assert [a.shape for a in seen.attentions] == [(3, 4, 17, 17)] * 2
    torch.testing.assert_close(seen.attentions[0].sum(-1), torch.ones(3, 4, 17))
    maps = torch.stack([a[:, :, 0, 1:].unflatten(-1, (4, 4)) for a in seen.attentions], dim=1)
    ours = torch.from_numpy(attention_maps(model, images).maps)
    torch.testing.assert_close(maps / maps.sum((-2, -1), keepdim=True), ours)
    with torch.no_grad():
        assert torch.equal(seen.hidden_states[0], model.embed(images))
        torch.testing.assert_close(seen.hidden_states[-1], model.forward_features(images))
    assert len(seen.hidden_states) == 3
    converted.set_attn_implementation("eager")
    converted.config.output_attentions = True
    assert len(converted(images, return_dict=False)) == 2


def test_eager_attention_is_computed_from_the_maps_that_are_returned(integration, transformers, tmp_path):
    converted, images = integration.to_transformers(small()), torch.randn(2, 3, 16, 16)
    assert converted.config._attn_implementation == "sdpa"
    converted.save_pretrained(tmp_path)
    eager = transformers.AutoModelForImageClassification.from_pretrained(tmp_path, attn_implementation="eager")
    torch.testing.assert_close(eager(images).logits, converted(images).logits)
    for model, used in ((eager, True), (converted, False)):
        seen = model(images, output_attentions=True)
        (gradient,) = torch.autograd.grad(seen.logits.sum(), seen.attentions[0], allow_unused=True)
        assert (gradient is not None and gradient.abs().sum() > 0) == used
    eager.set_attn_implementation("sdpa")
    assert torch.equal(eager(images).logits, converted(images).logits)
    with pytest.raises(ValueError, match="foo"):
        eager.set_attn_implementation("foo")


def test_other_image_sizes_may_be_refused(integration):
    model = integration.to_transformers(small())
    assert model(torch.randn(1, 3, 16, 24)).logits.shape == (1, 5)
    with pytest.raises(ValueError, match=r"images of 16 x 24 pixels need interpolate_pos_encoding=True"):
        model(torch.randn(1, 3, 16, 24), interpolate_pos_encoding=False)
    assert model(torch.randn(1, 3, 16, 16), interpolate_pos_encoding=False).logits.shape == (1, 5)


def test_the_input_embeddings_are_the_patch_embedding(integration):
    model, images = integration.to_transformers(small()), torch.randn(1, 3, 16, 16)
    assert model.get_input_embeddings() is model.crate.get_input_embeddings() is model.crate.backbone.patch_embed
    model.requires_grad_(False)
    model.enable_input_require_grads()  # as adapters need
    assert model(images).logits.requires_grad


def test_the_base_model_of_a_classifier_and_the_other_way(integration, transformers, tmp_path):
    model, images = small(), torch.randn(2, 3, 16, 16)
    integration.to_transformers(model).save_pretrained(tmp_path / "classifier")
    base = transformers.AutoModel.from_pretrained(tmp_path / "classifier")
    assert type(base) is integration.CrateModel
    seen = base(images)
    torch.testing.assert_close(seen.pooler_output, model.forward_head(model.forward_features(images), pre_logits=True))
    torch.testing.assert_close(seen.last_hidden_state[:, 0], seen.pooler_output)
    base.save_pretrained(tmp_path / "base")
    fresh = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "base", num_labels=3)
    assert torch.equal(fresh.crate.backbone.pos_embed, base.backbone.pos_embed)
    assert fresh(images).logits.shape == (2, 3)
    assert 0 < fresh.classifier.weight.std() < 0.1
    assert not fresh.classifier.bias.any()


@every_class
def test_what_a_checkpoint_lacks_is_initialised(integration, transformers, name, tmp_path):
    model = small(name)
    integration.to_transformers(model).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    lost = ["crate.backbone.norm.weight", "crate.backbone.cls_token"]
    save_file({k: t for k, t in tensors.items() if k not in lost}, file, metadata={"format": "pt"})
    loaded = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    assert torch.equal(loaded.crate.backbone.norm.weight, torch.ones(4 * model.config.num_heads))
    assert not torch.equal(loaded.crate.backbone.cls_token, model.cls_token)
    assert loaded.crate.backbone.cls_token.isfinite().all()
    assert torch.equal(loaded.classifier.weight, model.head.weight)


@pytest.mark.parametrize("kind", ["model", "folder"])
def test_the_pipeline(integration, transformers, picture, kind, tmp_path):
    model = create_model(TAGGED, pretrained=True).eval()
    converted = integration.to_transformers(model)
    if kind == "folder":
        converted.save_pretrained(tmp_path)
        classify = transformers.pipeline("image-classification", model=str(tmp_path), device="cpu")
    else:
        processor = converted.image_processor()
        classify = transformers.pipeline(
            "image-classification", model=converted, image_processor=processor, device="cpu"
        )
    with torch.no_grad():
        expected = model(preprocess(picture, model.preprocessing)[None]).softmax(-1)[0]
    answers = classify(picture, top_k=3)
    assert [a["label"] for a in answers] == [model.class_names[i] for i in expected.topk(3).indices]
    assert [a["score"] for a in answers] == pytest.approx(expected.topk(3).values.tolist(), abs=1e-6)


def test_pictures_of_every_kind(integration, transformers, picture, tmp_path):
    model = small()
    integration.to_transformers(model).save_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    expected = preprocess(picture, model.preprocessing)[None]
    picture.save(tmp_path / "picture.png")
    array = np.array(picture)
    for same in (
        picture,
        [picture],
        array,
        array.transpose(2, 0, 1),
        torch.from_numpy(array),
        str(tmp_path / "picture.png"),
    ):
        assert torch.equal(processor(same, return_tensors="pt").pixel_values, expected)
    assert processor([picture, picture.convert("L")], return_tensors="np").pixel_values.shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="crop_pct is 2"):
        integration.CrateImageProcessor(crop_pct=2.0)(picture)


@pytest.mark.filterwarnings("default")
def test_trainer_runs_and_saves(integration, transformers, tmp_path):
    model = integration.to_transformers(small())
    before = model.crate.backbone.blocks[0].ista.dictionary.detach().clone()
    data = [{"pixel_values": torch.randn(3, 16, 16), "labels": i % 5} for i in range(4)]
    arguments = transformers.TrainingArguments(
        output_dir=tmp_path, max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
    assert np.isfinite(trainer.train().training_loss)
    assert not torch.equal(model.crate.backbone.blocks[0].ista.dictionary, before)
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    trainer.save_model(tmp_path / "final")
    assert (tmp_path / "final" / "preprocessor_config.json").is_file()
    assert integration.from_transformers(integration.CrateForImageClassification.from_pretrained(tmp_path / "final"))


@pytest.mark.filterwarnings("ignore:.*deprecated")  # transformers' words for it are changing
def test_gradient_checkpointing(integration):
    model, images = integration.to_transformers(small()).train(), torch.randn(2, 3, 16, 16)
    assert not model.is_gradient_checkpointing
    labels, gradients, runs = torch.tensor([0, 3]), [], []
    model.crate.backbone.blocks[0].register_forward_pre_hook(lambda *_: runs.append(1))
    for _ in range(2):
        model.zero_grad()
        model(images, labels=labels).loss.backward()
        gradients.append(model.crate.backbone.pos_embed.grad.clone())
        model.gradient_checkpointing_enable()
        model.set_attn_implementation("eager")
        assert model.is_gradient_checkpointing
    torch.testing.assert_close(*gradients)
    assert len(runs) == 1 + 2


def test_half_precision(integration, transformers, tmp_path):
    integration.to_transformers(small().bfloat16()).save_pretrained(tmp_path)
    loaded = transformers.AutoModelForImageClassification.from_pretrained(tmp_path, dtype="auto")
    assert loaded.dtype == torch.bfloat16
    assert loaded(torch.randn(1, 3, 16, 16)).logits.isfinite().all()
    assert integration.from_transformers(loaded).pos_embed.dtype == torch.bfloat16


@pytest.mark.parametrize("mode", ["I;16", "I", "L", "P", "RGBA", "CMYK"])
def test_pictures_of_every_mode_are_read_as_the_package_reads_them(integration, tmp_path, mode):
    values = (np.arange(64 * 48).reshape(48, 64) * (65535 // (64 * 48))).astype(np.uint16)
    grey = Image.fromarray((values // 257).astype(np.uint8))
    picture = Image.fromarray(values) if mode.startswith("I") else grey.convert(mode)
    picture.convert(mode).save(tmp_path / "picture.tiff")
    model = small()
    expected = preprocess(read_image(tmp_path / "picture.tiff"), model.preprocessing)
    processor = integration.to_transformers(model).image_processor()
    through = processor(Image.open(tmp_path / "picture.tiff"), return_tensors="pt")["pixel_values"][0]
    assert torch.equal(through, expected)
    assert through.std() > 0.1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": "16"}, "the configuration of a CRATE is not valid: .*embed_dim"),
        ({"num_hidden_layers": -3}, "the configuration of a CRATE is not valid: depth is -3"),
        ({"step_size": -1.0}, "step_size is -1.0"),
        ({"patch_size": [4]}, "the configuration of a CRATE is not valid"),
        ({"preprocessing": {"mean": 3}}, "the configuration's preprocessing is not valid: .*mean"),
        ({"preprocessing": [1]}, "the configuration's preprocessing is not valid"),
        ({"family": "GPT"}, "there is no model family 'GPT'"),
    ],
)
def test_a_stranger_may_have_written_the_configuration(integration, transformers, tmp_path, change, words):
    integration.to_transformers(small()).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(stored | change))
    with pytest.raises(ValueError, match=words):
        transformers.AutoModelForImageClassification.from_pretrained(tmp_path)


@pytest.mark.usefixtures("unchecked")
def test_a_stranger_may_have_written_the_image_processor(integration, transformers, tmp_path, picture):
    integration.to_transformers(small()).save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    for change in ({"size": {"height": 16}}, {"crop_pct": "1"}, {"image_mean": [0.5]}, {"image_std": [0, 0, 0]}):
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(stored | change))
        with pytest.raises(ValueError, match="the image processor is not valid"):
            transformers.AutoImageProcessor.from_pretrained(tmp_path)(picture)


def test_a_compiled_model_is_converted(integration):
    model, images = small(), torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        converted = integration.to_transformers(torch.compile(model, backend="eager"))
        assert torch.equal(converted(images).logits, model(images))
