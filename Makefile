# Everything runs in .venv, which is made on the first call and used again until pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test lint types docs dist results image-results experiments published notebooks scenarios graph bench clean

demo: .venv/installed
	$(BIN)/tamcl compare label_flip_digits --out out/demo --jobs $(JOBS)

test: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

# The site, in out/site; a warning is an error. What it is made of is imported from this checkout.
docs: .venv/installed
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: .venv/installed
	$(BIN)/python -m build --no-isolation

# What the notebooks read. They need no download: what needs one is committed as tables in analysis/results.
RESULTS := out/demo out/fractions out/damping out/buffer out/own out/curvature out/landscape
SHORT := --set stream.experiences=5 --seeds 5 --tune-seeds 2 --jobs $(JOBS)
DAMPING := ["cosine","smoothed_cosine","damping"]
BUFFER := ["buffer_occupancy","buffer_age","buffer_priority","buffer_accepted","buffer_cosine"]

results: $(RESULTS:%=%/report.html)

notebooks: results
	$(BIN)/python -m pytest --nbmake analysis

out/demo/report.html: | .venv/installed
	$(BIN)/tamcl compare label_flip_digits --jobs $(JOBS) --out $(@D)

out/fractions/report.html: | .venv/installed
	$(BIN)/tamcl sweep label_flip_digits --over stream.fraction=0.2,0.4,0.6,0.8,1.0 \
		--arms sgdm,tam,tam_frozen $(SHORT) --out $(@D)

out/damping/report.html: | .venv/installed
	$(BIN)/tamcl compare null_models_digits --arms tam,tam_frozen,tam_average,tam_shuffled,sgdm \
		$(foreach arm,tam tam_frozen tam_average tam_shuffled,--set 'arms.$(arm).lr=[0.1,0.05,0.025]') \
		--set 'arms.sgdm.lr=[0.05,0.025,0.0125]' \
		--set 'diagnostics.names=$(DAMPING)' --set diagnostics.every=5 $(SHORT) --out $(@D)

out/buffer/report.html: | .venv/installed
	$(BIN)/tamcl compare null_models_digits --arms adam,adam_cm,adam_mv,adam_cm_fifo \
		--set 'arms.adam.lr=[0.01,0.005,0.0025]' --set 'arms.adam_mv.lr=[0.004,0.002,0.001]' \
		$(foreach arm,adam_cm adam_cm_fifo,--set 'arms.$(arm).lr=[0.002,0.001,0.0005]') \
		--set 'diagnostics.names=$(BUFFER)' --set diagnostics.every=5 $(SHORT) --out $(@D)

# From the folder in which the optimizer's file lies.
out/own/report.html: analysis/sign_momentum.py | .venv/installed
	cd analysis && ../$(BIN)/tamcl compare label_flip_digits --arms sgdm,adam \
		--arm 'sign_momentum:SignMomentum,lr=[0.002,0.001,0.0005]' \
		--set 'arms.sgdm.lr=[0.025,0.0125,0.00625]' --set 'arms.adam.lr=[0.01,0.005,0.0025]' $(SHORT) --out ../$(@D)

out/curvature/report.html: | .venv/installed
	$(BIN)/tamcl compare damping_and_curvature_digits --jobs $(JOBS) --out $(@D)

out/landscape/report.html: | .venv/installed
	$(BIN)/tamcl compare null_models_digits --arms sgdm,tam,tam_frozen,tam_shuffled --set keep_weights=true \
		$(foreach arm,tam tam_frozen tam_shuffled,--set 'arms.$(arm).lr=[0.1,0.05,0.025]') \
		--set 'arms.sgdm.lr=[0.05,0.025,0.0125]' $(SHORT) --out $(@D)
	$(BIN)/tamcl landscape $(@D) || { rm $@; false; }

# The tables in analysis/results, made again where $TAMCL_DATA_DIR has the images (a part of them will do).
IMAGE_ARMS := --allow-subset --arms sgdm,tam,tam_frozen,adam,adam_cm --seeds 3 --tune-seeds 1 --jobs $(JOBS)

image-results: .venv/installed
	$(BIN)/tamcl compare task_shift_five --set stream.samples=500 --set stream.batch_size=10 \
		--set evaluation.samples=100 $(IMAGE_ARMS) --out out/task_shift_five
	$(BIN)/tamcl compare task_shift_tinyimagenet --set model.name=mlp --set 'model.hidden=[100,100]' \
		--set stream.samples=300 --set evaluation.samples=20 --set 'arms.sgdm.lr=[0.005,0.0025,0.00125]' \
		$(foreach arm,tam tam_frozen,--set 'arms.$(arm).lr=[0.01,0.005,0.0025]') \
		--set 'arms.adam.lr=[0.0005,0.00025,0.000125]' \
		--set 'arms.adam_cm.lr=[0.000125,0.0000625,0.00003125]' $(IMAGE_ARMS) --out out/task_shift_tinyimagenet
	for name in task_shift_five task_shift_tinyimagenet; do \
		$(BIN)/python analysis/keep.py out/$$name analysis/results/$$name || exit; done

# What docs/results.md says beside the shipped scenarios: the papers' open questions. The images are those in
# $TAMCL_DATA_DIR, of which a part will do.
FLIPS := --set stream.experiences=10 --allow-subset --jobs $(JOBS)

experiments: .venv/installed
	$(BIN)/tamcl sweep label_flip_mnist --over stream.batch_size=1,4,16,64,256 --extend --seeds 5 --tune-seeds 2 \
		--arms sgdm,tam,tam_frozen,adam,adam_cm $(FLIPS) --out out/batch_size
	$(BIN)/tamcl sweep label_flip_mnist --over arms.tam.gamma=0.0,0.5,0.9,0.99,0.999 --extend \
		--arms sgdm,tam,tam_frozen $(FLIPS) --out out/gamma
	for name in sam_and_lookahead_mnist sam_and_lookahead_fashion; do \
		$(BIN)/tamcl compare $$name --allow-subset --jobs $(JOBS) --out out/$$name || exit; done
	for name in batch_size gamma sam_and_lookahead_mnist sam_and_lookahead_fashion; do \
		$(BIN)/python analysis/keep.py out/$$name analysis/results/$$name online_accuracy forgetting || exit; done
	$(BIN)/tamcl compare classification_cifar10 --allow-subset --arms sgdm,tam,tam_frozen,tam_then_sgdm,sgdm_then_sgdm \
		--set model.name=slim_resnet18 --set stream.samples=2000 --set stream.validation=500 --set stream.epochs=8 \
		--set stream.batch_size=50 --set evaluation.samples=500 --set diagnostics.every=5 --set keep_weights=true \
		$(foreach arm,sgdm sgdm_then_sgdm,--set 'arms.$(arm).lr=[0.05]') \
		$(foreach arm,tam tam_frozen tam_then_sgdm,--set 'arms.$(arm).lr=[0.1]') \
		$(foreach arm,tam_then_sgdm sgdm_then_sgdm,--set arms.$(arm).at=80) \
		--seeds 3 --tune-seeds 1 --jobs $(JOBS) --out out/classification_cifar10
	$(BIN)/tamcl landscape out/classification_cifar10 --allow-subset
	$(BIN)/tamcl compare null_models_digits --arms adam,adam_cm --set keep_weights=true --jobs $(JOBS) --out out/landscape_adam
	$(BIN)/tamcl landscape out/landscape_adam
	$(BIN)/tamcl compare interventions_digits --jobs $(JOBS) --out out/interventions
	$(BIN)/tamcl compare language_domains --jobs $(JOBS) --out out/language_domains

# The page docs/published.md: numbers of others, and ours. The images are those in $TAMCL_DATA_DIR, of which a part will
# do; what is there already is not run again, and a study that lacks its images is left out.
PUBLISHED := permuted_mnist_weight_clipping permuted_mnist_upgd permuted_mnist_l2_init random_labels_mnist_l2_init
PUBLISHED := $(PUBLISHED:%=out/published/%/report.html) out/published/permuted_mnist_upgd_48000/report.html \
	out/published/slowly_changing_regression/report.html

published: $(PUBLISHED)
	-test -f out/published/label_permuted_emnist_upgd/report.html || $(BIN)/tamcl compare label_permuted_emnist_upgd \
		--allow-subset --jobs $(JOBS) --out out/published/label_permuted_emnist_upgd
	$(BIN)/python analysis/published.py out/published docs/published.md

out/published/%/report.html: | .venv/installed
	$(BIN)/tamcl compare $* --allow-subset --jobs $(JOBS) --out $(@D)

out/published/permuted_mnist_upgd_48000/report.html: | .venv/installed
	$(BIN)/python analysis/fewer_images.py 48000 out/published/48000
	$(BIN)/tamcl compare permuted_mnist_upgd --arms adamw --data-dir out/published/48000 --allow-subset \
		--jobs $(JOBS) --out $(@D)

out/published/slowly_changing_regression/report.html: | .venv/installed
	$(BIN)/tamcl compare slowly_changing_regression --arms sgd --set 'arms.sgd.lr=[0.01]' --seeds 20 --jobs $(JOBS) \
		--out $(@D)

scenarios: .venv/installed
	$(BIN)/python -m tamcl.scenario.catalogue > scenarios/README.md

graph: .venv/installed
	$(BIN)/python -m tests.test_architecture

bench: .venv/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -q tests/benchmarks/test_training_overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_optimizers
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_stacks
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_studies
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.bench_scale

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	touch $@

clean:
	rm -rf .venv out build dist
