#!/usr/bin/env bash
# Everything worth doing on an NVIDIA GPU, the most important first, as far as ten minutes go and without a network.
#
#   benchmarks/gpu.sh                      results to runs/gpu (or $OUT), then docs/gpu-results.md
#   benchmarks/gpu.sh --dry-run            a rehearsal on the processor; docs/ stay as they are
#   benchmarks/gpu.sh --steps query,loop   some steps alone; docs/ stay as they are: environment references query
#                                          floors parity loop compiled sanitizer ablation tests tensorrt
#                                          plan-tests
#   benchmarks/gpu.sh --budget 300         seconds for all of it; docs/ stay as they are if a step found no time
#
# It installs nothing but what lies as wheels in $ARNET_WHEELS (or .whl), and that for itself alone.
# Each step is a process with its own limit; results.json is written after each of them.
set -u
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3}
out=${OUT:-runs/gpu}
wheels=${ARNET_WHEELS:-.whl}
if compgen -G "$wheels/*.whl" >/dev/null; then
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl &&
        export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$python" -m benchmarks.drive --out "$out" "$@" || exit
echo "What was found: $out/gpu-results.md"
"$python" -m benchmarks.report "$out/results.json" || exit
sed -n '/^## Query/,/^## Kernels against the frame/p' "$out/gpu-results.md"
