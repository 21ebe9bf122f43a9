# The recipe of the shipped pack, from the data beside the checkout; an interrupted run goes on. Another version of
# the same run: VERSION=2; another recipe or other data: another RUN, which the steps insist on.
.PHONY: train-compact measure-compact
.SECONDARY:
.DELETE_ON_ERROR:

DATA := ../shared/data
RUN := .styleflow/train-compact
VERSION := 1
OUT := $(RUN)/$(VERSION)
# The swaps' files name the person whose face they show, in two words before a number.
DONOR := '__([A-Z][a-z]+_[A-Z][a-z]+)_[0-9]+-R'
WORDS := --rate weak=0.1 --rate suspicious=0.05 --rate strong=0.02 --rate cleared=0.1
GENERATORS := AniPortrait AniTalker DeepFaceLab EDTalk
PARTS := style attention coarse middle fine

INIT := $(DATA)/init/mobilenet_v2_imagenet.safetensors
STYLEFLOW := OMP_NUM_THREADS=1 $(BIN)/styleflow
TRAIN = $(STYLEFLOW) train run $(1) --store $(RUN)/store --out $(2) --starting-weights $(INIT)
JUDGE = $(STYLEFLOW) train judge $(RUN)/manifest.csv
EVALUATE = $(STYLEFLOW) evaluate $(1) --packs-directory $(OUT)/packs --skip-bad

train-compact: $(VENV)/.stamp ## Train, pack, calibrate and measure the compact pack (about an hour on two cores)
	@$(MAKE) -j2 $(OUT)/validation/evaluation.json

measure-compact: train-compact ## Set it beside its branches alone, without parts, and trained without a generator (most of another)
	@$(MAKE) -j2 $(OUT)/compared/evaluation.json

$(RUN)/manifest.csv: $(DATA)/manifest.csv
	@mkdir -p $(RUN)
	$(STYLEFLOW) datasets scan csv $< --donor-pattern $(DONOR) --out $@

$(RUN)/store.prepared: $(RUN)/manifest.csv
	$(STYLEFLOW) train prepare $< --store $(RUN)/store --landmark-weights $(DATA)/init --photos $(DATA)/photos
	@touch $@

# The steps' own files are their last words. Style encoder and content branch know nothing of each other.
$(RUN)/steps/encoder.safetensors $(RUN)/steps/frames.safetensors: $(RUN)/steps/%.safetensors: $(RUN)/store.prepared recipes/compact.toml
	$(call TRAIN,recipes/compact.toml,$(@D)) --step $*

$(RUN)/steps/network.safetensors: $(RUN)/steps/encoder.safetensors $(RUN)/steps/frames.safetensors
	$(call TRAIN,recipes/compact.toml,$(@D))

$(OUT)/packs/compact-$(VERSION)-raw/card.json: $(RUN)/steps/network.safetensors recipes/compact-statement.txt recipes/compact-domain.txt
	$(STYLEFLOW) train pack recipes/compact.toml --out $(<D) --packs-directory $(OUT)/packs --name compact --version $(VERSION)-raw --float16 \
	  --starting-weights $(INIT) --licence MIT --licence Apache-2.0 \
	  --statement "$$(echo $$(< recipes/compact-statement.txt))" --domain "$$(echo $$(< recipes/compact-domain.txt))"

$(RUN)/held-back.csv: $(RUN)/store.prepared
	$(STYLEFLOW) train held-back $(RUN)/manifest.csv recipes/compact.toml --store $(RUN)/store --out $@

$(OUT)/calibration/calibration.json: $(RUN)/held-back.csv $(OUT)/packs/compact-$(VERSION)-raw/card.json
	$(call EVALUATE,$<) --split train --model compact@$(VERSION)-raw --calibrate platt $(WORDS) --out $(@D) --resume

$(OUT)/packs/compact-$(VERSION)/card.json: $(OUT)/calibration/calibration.json
	$(STYLEFLOW) train calibrate compact@$(VERSION)-raw --calibration $< --packs-directory $(OUT)/packs --version $(VERSION) --default

$(OUT)/validation/evaluation.json: $(OUT)/packs/compact-$(VERSION)/card.json
	$(call EVALUATE,$(RUN)/manifest.csv) --split validation --model compact@$(VERSION) --out $(@D) --resume

# --- beside baselines, without parts, and without a generator ---

$(RUN)/others.prepared: $(RUN)/manifest.csv
	$(STYLEFLOW) train prepare $< --store $(RUN)/others --landmark-weights $(DATA)/init --split validation
	@touch $@

# Shorter than the recipe's own step: five more networks are trained for comparison, not for use.
SHORTER = -E -e '/^\[frames\]/,/^\[stage_one\]/{s/steps = [0-9]+/steps = $(1)/;s/judge_every = [0-9]+/judge_every = $(1)/}'

$(RUN)/starting-weights.toml: recipes/compact.toml
	sed $(call SHORTER,400) -e '/^\[frames\]/a train_trunk = false' $< > $@

$(RUN)/without-%.toml: recipes/compact.toml
	sed $(call SHORTER,300) -e 's/^held_back = 0/&\nwithout_generators = ["$*"]/' $< > $@

$(RUN)/%/frames.safetensors: $(RUN)/%.toml $(RUN)/store.prepared
	$(call TRAIN,$<,$(@D)) --step frames

$(RUN)/judged/content.jsonl $(RUN)/judged/style.jsonl $(RUN)/judged/network.jsonl: $(RUN)/judged/%.jsonl: $(RUN)/steps/network.safetensors $(RUN)/others.prepared
	$(JUDGE) recipes/compact.toml --store $(RUN)/others --out $(RUN)/steps --by $* --predictions $@

$(RUN)/judged/no-%.jsonl: $(RUN)/steps/network.safetensors $(RUN)/others.prepared
	$(JUDGE) recipes/compact.toml --store $(RUN)/others --out $(RUN)/steps --without $* --predictions $@

$(RUN)/judged/starting-weights.jsonl: $(RUN)/starting-weights/frames.safetensors $(RUN)/others.prepared
	$(JUDGE) $(RUN)/starting-weights.toml --store $(RUN)/others --out $(<D) --by content --predictions $@

$(RUN)/judged/without-%.jsonl: $(RUN)/without-%/frames.safetensors
	$(JUDGE) $(RUN)/without-$*.toml --store $(RUN)/store --split train --out $(<D) --by content --predictions $@

BESIDE := content style network starting-weights $(PARTS:%=no-%)
$(OUT)/compared/evaluation.json: $(OUT)/validation/evaluation.json $(BESIDE:%=$(RUN)/judged/%.jsonl) $(GENERATORS:%=$(RUN)/judged/without-%.jsonl)
	@mkdir -p $(@D) && cp $(OUT)/validation/*.jsonl $(@D)
	$(call EVALUATE,$(RUN)/manifest.csv) --split validation --model compact@$(VERSION) --out $(@D) --resume \
	  $(foreach name,$(BESIDE),--beside $(name)=$(RUN)/judged/$(name).jsonl) \
	  $(foreach name,$(GENERATORS),--left-out $(name)=$(RUN)/judged/without-$(name).jsonl)
