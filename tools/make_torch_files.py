"""Small files that PyTorch saved, for tests/pretrained/test_reading.py.

    python tools/make_torch_files.py

Runs where PyTorch is installed.
"""

from collections import OrderedDict
from pathlib import Path

import torch

FOLDER = Path(__file__).parent.parent / "tests" / "pretrained" / "files"

numbers = torch.arange(6, dtype=torch.float32).reshape(2, 3)
STATE = OrderedDict(
    numbers=numbers,
    transposed=numbers.T,
    row=numbers[1],
    parameter=torch.nn.Parameter(torch.full((2,), 0.5)),
    half=torch.tensor([1.5], dtype=torch.float16),
    bfloat=torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    count=torch.tensor(7),
    flags=torch.tensor([True, False]),
    empty=torch.zeros(0, 3),
)

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    torch.save(STATE, FOLDER / "zip.pth")
    torch.save(STATE, FOLDER / "legacy.pth", _use_new_zipfile_serialization=False)
    wrapped = {f"module.{key}": value for key, value in STATE.items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, FOLDER / "wrapped.pth")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module.pth")
