# Needs: Python >= 3.11, a C++17 compiler, make. Everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OVERLAY := build/typing/fantasyid_engine
INSTALLED := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install demo lint typecheck imports pytest test format clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: Python >= 3.11 is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# Type checkers and import-linter cannot follow the mapping of folders to the package, so they get an overlay:
# real folders, linked files, made anew each time.
$(OVERLAY): FORCE
	@rm -rf $@ && mkdir -p $(@D) && cp -rs "$(CURDIR)/engine" $@
	@for part in kernels training export csrc/_native.pyi; do cp -rs "$(CURDIR)/$$part" $@/; done
FORCE:

demo: $(INSTALLED)
	$(BIN)/fantasyid-engine generate --image docs/examples/face.png \
		--prompt "the person turns the head to the left and smiles" --seed 7 --preview \
		--out out/demo.mp4 --overwrite

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(wildcard csrc/*.cpp csrc/*.hpp tests/csrc/*.cpp)

typecheck: $(INSTALLED) $(OVERLAY)
	$(BIN)/pyright

# Without site (-S), so that the editable install does not come before the overlay.
imports: $(INSTALLED) $(OVERLAY)
	PYTHONPATH=$(dir $(OVERLAY)):$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		$(BIN)/python -S -c 'from importlinter.cli import lint_imports_command; lint_imports_command()' --no-logo

pytest: $(INSTALLED)
	$(BIN)/pytest --numprocesses auto --dist worksteal

test: lint typecheck imports pytest

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i $(wildcard csrc/*.cpp csrc/*.hpp tests/csrc/*.cpp)

clean:
	rm -rf $(VENV) build dist
