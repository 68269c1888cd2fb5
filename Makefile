# Needs Python >= 3.11, make and the package index. Everything happens in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow docs install install-test install-docs clean

# Set-up runs again only when what it depends on has changed.
install: $(VENV)/.installed
install-test: $(VENV)/.installed-test
install-docs: $(VENV)/.installed-docs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "imder needs Python >= 3.11: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt tools/install.sh
	sh tools/install.sh $(BIN)/python .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	sh tools/install.sh $(BIN)/python ".[test,lint,extract,face]"
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	sh tools/install.sh $(BIN)/python ".[docs]"
	@touch $@

demo: install
	$(BIN)/imder demo --out demo

test: install-test
	$(BIN)/ruff check src tests benchmarks tools examples
	$(BIN)/ruff format --check src tests benchmarks tools examples
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

slow: install-test $(VENV)/.installed-speech $(VENV)/face_landmarker.task $(VENV)/whisper/model.bin
	IMDER_FACE_MODEL=$(abspath $(VENV)/face_landmarker.task) IMDER_ASR_MODEL=$(abspath $(VENV)/whisper) \
		$(BIN)/python -m pytest -m slow

$(VENV)/.installed-speech: $(VENV)/.installed-test
	sh tools/install.sh $(BIN)/python ".[speech]"
	@touch $@

# The models of faces and of speech, for tests.
$(VENV)/face_landmarker.task: $(BIN)/python tools/face_model.py
	$(BIN)/python tools/face_model.py $@

$(VENV)/whisper/model.bin: $(BIN)/python tools/whisper_model.py
	$(BIN)/python tools/whisper_model.py $(VENV)/whisper

# The site goes to site/; open site/index.html.
docs: install-docs
	PYTHONPATH=tools/site $(BIN)/zensical build --strict --clean
	$(BIN)/python tools/site/check.py site

clean:
	rm -rf $(VENV) demo site
