#!/usr/bin/env bash
# IPython 7.34.0 on Python 3.12 or newer, the pair that Colab and Kaggle have: `lines = !command` is a SyntaxError. From
# 3.12 on Python's tokenizer calls "!" an operator and no longer an error, which IPython 7 looks for; `!command` by
# itself goes on working, and so does get_ipython().getoutput("command"), which is what the assignment becomes.
# What the course does: the notebooks' first cell calls getoutput (handouts/platforms.py).
set -euo pipefail
python=
for name in python3 python3.12 python3.13 python3.14; do
  if "$name" -c "import sys; sys.exit(sys.version_info < (3, 12))" 2>/dev/null; then python=$name; fi
done
[ "$python" ] || { echo "needs Python 3.12 or newer"; exit 1; }
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ipython==7.34.0 setuptools==80.9.0
IPYTHONDIR="$folder" "$folder/venv/bin/python" - <<'PY'
import ast
from IPython.core.inputtransformer2 import TransformerManager

def compiles(cell: str) -> bool:
    try:
        ast.parse(TransformerManager().transform_cell(cell))
    except SyntaxError:
        return False
    return True

known = {cell: compiles(cell + "\n") for cell in ("!echo 3", "lines = !echo 3", "%pwd", "where = %pwd")}
print("what IPython 7.34 knows here:", known)
assert known["!echo 3"] and not known["lines = !echo 3"], "it has changed"
PY
