#!/bin/sh
# Makes diff-page.png beside it: the page that `datapin diff --html` writes after somebody relabelled some of the shipped
# digits, drew some anew, added some and dropped some. Needs datapin and dvc on the PATH, and chromium.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
git clone -q "$here/../.." "$scratch/digits"
cd "$scratch/digits"
datapin init -q
datapin checkout data/raw --into digits -q
python - <<'PYTHON'
from pathlib import Path

from PIL import Image, ImageChops

known = sorted(Path("digits").glob("*/*.png"))
chosen = known[60::128]  # new digits: those of the set, one pixel further
for number, path in enumerate([*chosen, known[500], known[900]]):
    name = f"{1800 + number}.png" if number < len(chosen) else path.name  # the last two are drawn anew
    target = Path("new") / path.parent.name / name
    target.parent.mkdir(parents=True, exist_ok=True)
    ImageChops.offset(Image.open(path), 1, 0).save(target)
PYTHON
datapin add new --to data/raw --label parent -q
datapin update data/raw -q --set "label = '7'" --where "key IN ('1/0042.png', '1/0056.png', '1/0070.png')"
datapin update data/raw -q --set "label = '5'" --where "key IN ('9/0069.png', '9/0073.png')"
datapin remove data/raw -q --where "key IN ('8/0008.png', '8/0018.png', '8/0028.png')"
datapin diff data/raw -q --limit 0 --html "$scratch/review.html"
for scheme in light dark; do
    [ $scheme = light ] && file=$here/diff-page.png || file=${DARK:-$scratch/dark.png}
    chromium --headless --no-sandbox --hide-scrollbars --force-device-scale-factor=1 --virtual-time-budget=2000 \
        --blink-settings=preferredColorScheme=$([ $scheme = light ] && echo 1 || echo 0) \
        --window-size=1200,1650 --screenshot="$file" "file://$scratch/review.html" 2>/dev/null
done
