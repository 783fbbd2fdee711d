"""The log as text, as JSON lines, and as TensorBoard reads it."""

import json
import math
import struct

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog

from jaxvision.engine import logging as logs
from jaxvision.engine.history import FILE, parse_rows, read_rows


def events(folder):
    """The events of all files, in their order: records between length and checksums."""
    found = []
    for file in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return found


def test_rows_are_kept_as_text_and_read_by_tensorboard(tmp_path, caplog):
    said = []
    log = logs.open_log(tmp_path, "", step=0, warn=said.append)
    row = {"step": 8, "epoch": 1.0, "train/loss": 0.5, "confusion": np.eye(2)}
    log.write(row)
    log.write({"step": 16, "epoch": 2.0, "train/loss": math.nan})
    log.sync()
    log.close()
    assert not caplog.records  # what is no number is not news among the run's lines
    text = (tmp_path / FILE).read_text()
    assert text == log.text
    expected = [
        {"step": 8, "epoch": 1.0, "train/loss": 0.5},
        {"step": 16, "epoch": 2.0, "train/loss": None},
    ]
    assert parse_rows(text) == expected == read_rows(tmp_path / FILE)

    # Continued after step 8: what came later is dropped, here and in TensorBoard.
    first = text.splitlines(keepends=True)[0]
    log = logs.open_log(tmp_path, first, step=8, warn=said.append)
    log.write({"step": 16, "epoch": 2.0, "train/loss": 0.25})
    log.close()
    losses = [row["train/loss"] for row in read_rows(tmp_path / FILE)]
    assert losses == [0.5, 0.25] and not said
    found = events(tmp_path / "tensorboard")
    scalars = [
        (event.step, event.summary.value[0].simple_value)
        for event in found
        if event.HasField("summary")
    ]
    assert scalars[0] == (8, 0.5) and scalars[-1] == (16, 0.25)
    (start,) = (event for event in found if event.HasField("session_log"))
    assert (start.step, start.session_log.status) == (9, SessionLog.START)


def test_lines_that_are_no_rows_are_left_out(tmp_path):
    file = tmp_path / FILE
    row = json.dumps({"step": 1, "epoch": 0.5})
    lines = ("[]", "null", '"a"', "{}", "[" * 10**5, '{"step": 1, "ep', "\udcff")
    text = "\n".join([*lines[:3], row, *lines[3:], row])
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_rows(file) == [json.loads(row)] * 2
    assert read_rows(tmp_path / "missing") == []
