#!/usr/bin/env bash
# MyST-NB 1.4.0: the words of a folded code cell (nb_code_prompt_show, "Show code") are seen and not heard. Its <summary>
# carries aria-label="Toggle hidden content", which replaces them for a screen reader and for voice control: every folded
# cell has that one name, in English whatever the page's language, and saying "click show code" finds nothing. axe-core
# calls it serious (label-content-name-mismatch).
# What the course does: handouts/conf.py takes the label away from the built pages.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet myst-nb==1.4.0 sphinx==8.2.3
cd "$folder"
mkdir page
cat > page/conf.py <<'PY'
extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_code_prompt_show, nb_code_prompt_hide = "Code zeigen", "Code verbergen"
language = "de"
PY
cat > page/index.ipynb <<'JSON'
{"cells": [
  {"cell_type": "markdown", "id": "a", "metadata": {}, "source": "# Page"},
  {"cell_type": "code", "id": "b", "metadata": {"tags": ["hide-input"]}, "source": "x = 1", "outputs": [],
   "execution_count": 1}],
 "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}
JSON
venv/bin/python -m sphinx -q -b html page out
grep -A 3 "<summary" out/index.html
grep -q '<summary aria-label="Toggle hidden content">' out/index.html
grep -q "Code zeigen" out/index.html
