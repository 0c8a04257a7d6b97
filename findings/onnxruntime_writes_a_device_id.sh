#!/usr/bin/env bash
# onnxruntime 1.32.0, Python wheel for Linux on x86-64: `import onnxruntime`, without any session, creates
# ~/.cache/Microsoft/DeveloperTools/.onnxruntime with a file `deviceid` (36 characters, a random UUID, the same on the next
# run) and an SQLite database `onnxruntime.db`. The public switch, `onnxruntime.disable_telemetry_events()`, comes too late:
# it can only be called after the import that has written both. The environment variable ORT_DISABLE_TELEMETRY=1, set before
# the import, leaves the home folder empty.
# What the course does: sets that variable before it compares an exported network with PyTorch.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 numpy==2.2.6
unset ORT_DISABLE_TELEMETRY XDG_CACHE_HOME
written() { (cd "$1" && find . -type f -path '*Microsoft*' -printf '%f\n' | grep -v -e '-shm$' -e '-wal$' | sort | tr '\n' ' '); }

mkdir "$folder/import" "$folder/switch" "$folder/variable"
HOME=$folder/import "$folder/venv/bin/python" -c "import onnxruntime"
id=$(find "$folder/import" -name deviceid); first=$(cat "$id")
HOME=$folder/import "$folder/venv/bin/python" -c "import onnxruntime"
HOME=$folder/switch "$folder/venv/bin/python" -c "import onnxruntime; onnxruntime.disable_telemetry_events()"
HOME=$folder/variable ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" -c "import onnxruntime"

echo "after the import: $(written "$folder/import")"
echo "with disable_telemetry_events(): $(written "$folder/switch")"
echo "with ORT_DISABLE_TELEMETRY=1: $(written "$folder/variable")"
[ "$(written "$folder/import")" = "deviceid onnxruntime.db " ]
[ "$(written "$folder/switch")" = "deviceid onnxruntime.db " ]
[ -z "$(written "$folder/variable")" ]
[ "${#first}" = 36 ] && [ "$(cat "$id")" = "$first" ]
