"""Write the 1,797 handwritten digits of scikit-learn's `load_digits` as PNG files, one folder per class.

    python data/make_digits.py [FOLDER]        writes FOLDER/<label>/<number>.png, default data/digits

The same files every time: 8x8 grey pixels, ink 0..16 scaled to 0..255, numbered in scikit-learn's order.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

DEFAULT_FOLDER = Path(__file__).parent / "digits"


def write_digits(folder: Path) -> int:
    """Write every digit below `folder`; how many there are."""
    digits = load_digits()
    grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(grey, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, compress_level=9)
    return len(grey)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_FOLDER
    print(f"{write_digits(target)} digits in {target}")
