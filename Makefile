PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

unexport PYTHONDONTWRITEBYTECODE  # which some images set: every process would compile anew what it imports

.PHONY: quickstart setup check docs test test-peers test-triton test-datasets test-suites test-slow test-oldest test-gpu test-seeds bench gallery format

quickstart: .venv/core.stamp  ## train a small CRATE here and open up what it does: runs/quickstart/report.html
	$(BIN)/crate quickstart

setup: .venv/dev.stamp  ## .venv with everything for development

.venv/core.stamp: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PIP) -e .
	touch $@

.venv/dev.stamp: .venv/core.stamp
	$(PIP) -e ".[dev]"
	touch $@

check: .venv/dev.stamp  ## style, import direction, types, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	$(MAKE) --no-print-directory docs

docs: .venv/docs.stamp  ## the documentation site, runs/docs/index.html; a warning or a link that leads nowhere is an error
	$(BIN)/python -m sphinx -b html -q -W --keep-going docs runs/docs

.venv/docs.stamp: .venv/core.stamp
	$(PIP) -e ".[docs]"
	touch $@

test: .venv/dev.stamp  ## everything but slow and gpu, about 5 minutes on 2 quiet cores
	$(MAKE) --no-print-directory --jobs 2 test-peers test-triton test-datasets
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu"

# timm needs torchvision, whose releases on PyPI are for CUDA builds of torch: the other tests run without both
test-peers: .venv/timm.stamp .venv/peers.stamp  ## beside timm, a torchvision that was built for another torch, captum and peft
	PYTHONPATH=.venv/timm:.venv/peers $(BIN)/pytest tests/integrations/test_timm.py tests/integrations/test_timm_page.py \
		tests/integrations/test_foreign_vits.py \
		tests/integrations/test_foreign_attention.py::test_a_vit_of_timm_is_read_by_its_norms \
		tests/integrations/test_transformers.py::test_the_pipeline \
		tests/test_docs_pages.py::test_a_page_for_another_package_runs

.venv/timm.stamp: .venv/dev.stamp
	$(PIP) --no-deps --target .venv/timm timm torchvision==0.28.0
	touch $@

.venv/peers.stamp: .venv/dev.stamp
	$(PIP) --no-deps --target .venv/peers captum peft
	touch $@

# torch for a CPU comes without triton, which exists for Linux alone
test-triton: .venv/triton.stamp  ## the GPU's kernels, interpreted on the CPU and compiled for a GPU that need not be there
	PYTHONPATH=.venv/triton TRITON_INTERPRET=1 $(BIN)/pytest tests/kernels -m "not gpu"

.venv/triton.stamp: .venv/dev.stamp
	$(PIP) --no-deps --target .venv/triton "triton==3.6.0; sys_platform == 'linux'"
	touch $@

# datasets brings pandas and pyarrow, which nothing else here needs
test-datasets: .venv/datasets.stamp  ## data sets of Hugging Face
	PYTHONPATH=.venv/datasets $(BIN)/pytest tests/data/test_data_hub.py \
		tests/cli/test_cli_objectives.py::test_data_sets_of_hugging_face

.venv/datasets.stamp: .venv/dev.stamp
	$(PIP) --no-deps --target .venv/datasets datasets dill multiprocess pandas pyarrow xxhash
	touch $@

# unchanged, with warnings and markers of their own; fx cannot trace through our tests' checks of shapes
SUITE := $(BIN)/pytest -o addopts= -W default

test-suites: .venv/suites.stamp  ## the test suites of timm and transformers, from their source distributions, on our models
	PYTHONPATH=.venv/suites:.venv/timm $(SUITE) tests/integrations/test_timm_suite.py
	HF_HUB_OFFLINE=1 PYTHONPATH=.venv/suites $(SUITE) tests/integrations/test_transformers_suite.py

.venv/suites.stamp: .venv/timm.stamp
	for name in timm transformers; do \
	  version=$$(PYTHONPATH=.venv/timm $(BIN)/python -c "from importlib.metadata import version; print(version('$$name'))") && \
	  $(BIN)/python -m pip download --quiet --no-deps --no-binary $$name --dest .venv/sources $$name==$$version && \
	  mkdir -p .venv/suites/$${name}_tests && \
	  tar xzf .venv/sources/$$name-$$version.tar.gz -C .venv/suites/$${name}_tests --strip-components=2 $$name-$$version/tests || exit 1; \
	done
	$(PIP) --no-deps --target .venv/suites parameterized
	touch $@

test-slow: .venv/dev.stamp
	$(BIN)/pytest -m slow

OLDEST_PYTHON ?= python3.10
OLDEST_TORCH ?= torch==2.6.0 --index-url https://download.pytorch.org/whl/cpu
OLDEST_VENV ?=  # --system-site-packages to use an installed PyTorch

# what depends neither on the bits of one build nor on files of newer ones; older releases warn of other things. PyTorch 2.6
# cannot convert ToST to ONNX.
test-oldest: build/oldest.stamp  ## part of the tests beside the oldest PyTorch and Python (CONTRIBUTING.md), in build/oldest
	build/oldest/bin/python -m pytest -W default -m "not slow and not gpu and not browser" \
		tests/layers tests/objective tests/models tests/checkpoints tests/inspection tests/integrations/test_export.py \
		--deselect "tests/integrations/test_export.py::test_onnx_from_the_shell[tost_tiny_patch16_224]"

build/oldest.stamp: pyproject.toml
	$(OLDEST_PYTHON) -m venv $(OLDEST_VENV) build/oldest
	build/oldest/bin/python -m pip install --quiet $(OLDEST_TORCH)
	build/oldest/bin/python -m pip install --quiet -e ".[dev]"
	touch $@

test-gpu: .venv/dev.stamp
	$(BIN)/pytest -m gpu

NUMERIC := tests/layers tests/kernels tests/objective tests/parity tests/contract tests/models tests/training \
  tests/evaluation
SEEDS := $(shell seq 20)

test-seeds: .venv/dev.stamp  ## tests of numbers with other random numbers: SEEDS="1 2", NUMERIC=tests/layers for fewer
	failed=; for seed in $(SEEDS); do \
	  $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow and not gpu" --seed $$seed $(NUMERIC) || failed="$$failed $$seed"; \
	done; test -z "$$failed" || { echo "failed with seeds$$failed"; false; }

DATA := ../shared/data
WEIGHTS := crate_compact_patch8_64.tiny_imagenet_100_caltech

gallery: .venv/core.stamp  ## heads and animals from sets with masks, for the eye: runs/gallery; DATA=folder WEIGHTS=checkpoint
	$(BIN)/python benchmarks/gallery.py $(DATA) runs/gallery --checkpoint $(WEIGHTS)

bench: .venv/dev.stamp  ## speed and memory beside a reference implementation and other libraries' ViTs: runs/bench
	$(BIN)/crate bench

format: .venv/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PAGE := src/crate_transformer/explorer/page

.PHONY: explorer-page
explorer-page: $(PAGE)/node_modules  ## the script of the interactive page, from its sources; needs node, the package itself does not
	cd $(PAGE) && npm run --silent build

$(PAGE)/node_modules: $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --no-audit --no-fund --silent
	touch $@
