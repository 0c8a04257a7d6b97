#!/usr/bin/env bash
# nbconvert 7.17.2: the default template of `jupyter nbconvert --to html`, lab, never reads the alternative text that an
# image output carries in its metadata (metadata["image/png"]["alt"]); the page says "No description has been provided
# for this image" instead. The template classic reads it. A notebook that describes its figures loses that by default.
# What the course does: its own handouts keep the texts; handouts/teaching.md names --template classic.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nbconvert==7.17.2 nbformat==5.10.4
cd "$folder"
venv/bin/python - <<'PY'
import base64, subprocess, sys, zlib, struct
import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
data = {"image/png": base64.b64encode(png).decode()}
output = new_output("display_data", data=data, metadata={"image/png": {"alt": "a black pixel"}})
nbformat.write(new_notebook(cells=[new_code_cell("", outputs=[output])]), "figure.ipynb")
kept = {}
for template in ("lab", "classic"):
    command = ["-m", "nbconvert", "--to", "html", "--template", template, "--output", template, "figure.ipynb"]
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    kept[template] = "a black pixel" in open(f"{template}.html", encoding="utf-8").read()
print("does the page hold the alternative text?", kept)
assert kept == {"lab": False, "classic": True}, "it has changed"
PY
