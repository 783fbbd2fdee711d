"""Every experiment file runs from end to end, and its command line behaves."""

import dataclasses
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from jaxvision import runs
from jaxvision.engine.state import digest
from jaxvision.errors import UsageError
from jaxvision.runs import execute

ROOT = Path(__file__).parent.parent
NAMES = sorted(
    path.stem
    for path in (ROOT / "experiments").glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)
STUDIES = [
    name
    for name in NAMES
    if "study(examine" in (ROOT / "experiments" / f"{name}.py").read_text("utf-8")
]
"""Those that train no network."""
RUNS = [name for name in NAMES if name not in STUDIES]
RESULT_KEYS = {
    "test_loss", "monitor", "measures", "seed", "steps", "wall_seconds",
    "images_per_second", "compile_seconds", "parameters", "params_digest", "device",
    "hardware", "version_jax", "version_flax", "git_commit", "git_dirty", "command",
}  # fmt: skip


NESTED = {"measures", "evaluations"}


def launch(name, *arguments, python=("-m",)):
    """`python -m experiments.<name>` in a process of its own, on one device."""
    environment = os.environ | {"XLA_FLAGS": ""}
    return subprocess.run(
        [sys.executable, *python, f"experiments.{name}", *map(str, arguments)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


WITH_SMALL_FILES = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a module where no file may exceed a megabyte, as on a disk that is full."""


QUICK = ("mnist_lenet5", "edge_detector")
"""The others are in `make test-all`."""
ALIKE = (
    "bccd_yolox", "camvid_fcn8s", "camvid_segnet", "camvid_unet", "cifar10_resnet18",
    "cifar10_wrn28_10", "cifar100_resnet18", "cityscapes_deeplabv3",
    "coco_detr_resnet50", "coco_fasterrcnn_resnet50",
    "coco_hrnet_w32", "coco_keypointrcnn", "coco_maskrcnn_resnet50",
    "coco_retinanet_resnet50", "coco_simplebaseline_resnet50", "coco_yolox_s",
    "faces_landmarks", "imagenet_resnet50_long", "imagenet_vit_s16",
    "imagenette_resnet50", "lsp_simplebaseline", "mnist_perceptron",
    "mouse_simplebaseline", "pennfudan_maskrcnn", "sound_spectrogram",
    "voc2012_deeplabv3",
)  # fmt: skip
"""Of these CI runs another one that shares their recipe."""


def smoke_runs(names):
    """The names, each with its mark."""

    def marks(name):
        if name in QUICK:
            return ()
        if name in ALIKE:
            return (pytest.mark.slow, pytest.mark.exhaustive)
        return (pytest.mark.slow,)

    return [pytest.param(name, marks=marks(name)) for name in names]


@pytest.mark.parametrize("name", smoke_runs(RUNS))
def test_smoke(name, tmp_path):
    done = launch(name, "--smoke", "--workdir", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    results = sorted((tmp_path / "run").rglob("result.json"))
    assert results
    for file in results:
        result = json.loads(file.read_text())
        assert RESULT_KEYS <= result.keys()
        assert result["experiment"] == name and result["smoke"] is True
        # Flat, but for what says how to read it, and options of several numbers.
        for key, value in result.items():
            pair = key.startswith("config_") and isinstance(value, list)
            assert key in NESTED or pair or not isinstance(value, dict | list)
        assert f"test_{result['monitor']}".replace("/", "_") in result
        assert result["monitor"].removeprefix("average/") in result["measures"]
        assert f"to validate ({result['validated_on']}), " in done.stdout
        assert f"to test ({result['tested_on']});" in done.stdout
        # The made-up images are easy, chance is 0.1; an epoch makes two updates in all.
        if "test_accuracy" in result and result.get("case") != "epoch":
            assert result["test_accuracy"] > 0.3
        files = {path.name for path in file.parent.iterdir()}
        assert {
            "config.json", "metrics.jsonl", "tensorboard", "checkpoints", "curves.png",
            "predictions.png", "prediction.json", "test_metrics.json",
        } <= files  # fmt: skip
        assert list((file.parent / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("name", smoke_runs(STUDIES))
def test_a_study_leaves_a_record_and_pictures(capsys, name, tmp_path):
    code, out, err = call(capsys, name, "--smoke", "--workdir", tmp_path)
    assert code == 0, err
    result = json.loads((tmp_path / "result.json").read_text())
    trained = {"test_loss", "images_per_second", "compile_seconds"}
    assert RESULT_KEYS - trained - {"params_digest"} <= result.keys()
    assert result["experiment"] == name and result["smoke"] is True
    measured = {f"test_{measure}" for measure in result["measures"]}
    assert measured == {key for key in result if key.startswith("test_")}
    assert all(isinstance(result[key], int | float) for key in measured)
    pictures = list(tmp_path.glob("*.png"))
    assert pictures and "could not be drawn" not in out
    code, _, err = call(capsys, name, "--smoke", "--workdir", tmp_path)
    assert code == 2 and "finished" in err


@pytest.fixture(scope="module")
def three_splits(tmp_path_factory):
    """Images of two classes: 8 to train on, 6 to validate on, 4 to test on."""
    root = tmp_path_factory.mktemp("splits")
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        for i in range(count):
            for name, level in (("a", 0), ("b", 1)):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (32, 32), (level, 10 * i, 0)).save(path)
    return f"folder:{root}"


@pytest.mark.parametrize("name", RUNS)
def test_a_declared_validation_split_is_used(name, three_splits):
    module = importlib.import_module(f"experiments.{name}")
    config = dataclasses.replace(module.Config(), dataset=three_splits, batch_size=4)
    try:
        experiment = module.build(config)
    except UsageError as error:
        pytest.skip(f"these images are not for it: {error}")
    pipelines = experiment.train, experiment.validation, experiment.test
    assert [pipeline.num_examples for pipeline in pipelines] == [8, 6, 4]
    assert experiment.validation.choice == "the folder val/, as declared"


def call(capsys, name, *arguments):
    """Exit code and output of an experiment that is run in this process."""
    module, code = importlib.import_module(f"experiments.{name}"), 0
    study = name in STUDIES
    start, function = (
        (runs.study, module.examine) if study else (execute.run, module.build)
    )
    try:
        start(
            function,
            module.Config,
            smoke=module.SMOKE if study else SMALL,
            arguments=[str(word) for word in arguments],
            name=f"experiments.{name}",
        )
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


SMALL = dict(dataset="synthetic:28x28x1", epochs=2)


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_every_option(capsys, name):
    module = importlib.import_module(f"experiments.{name}")
    code, out, _ = call(capsys, name, "--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for field in module.Config.__dataclass_fields__:
        option = "--" + field.replace("_", "-")
        assert option in words, f"{option} is missing"
    assert "--workdir" in words and "--smoke" in words
    first_line = (module.__doc__ or "").splitlines()[0]
    assert first_line.split()[0] in words


BAD = {
    "unknown option": (["--epoch", "3"], "--epochs"),
    "wrong type": (["--epochs", "many"], "many"),
    "no epochs": (["--epochs", "0"], "between 1 and 2^31 steps"),
    "negative epochs": (["--epochs", "-1"], "got -1.0 epochs of"),
    "negative rate": (["--peak-lr", "-0.1"], "must be positive, got -0.1"),
    "negative size": (["--batch-size", "-8"], "batch size must be positive, got -8"),
    "huge batch": (["--batch-size", "4096"], "batch size 4096 exceeds"),
    "unknown set": (["--dataset", "mnsit"], "mnist"),
    "unknown model": (["--model", "lenet7"], "lenet5"),
    "too many devices": (["--devices", "9"], "between 1 and 8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_message_and_code_2(capsys, case, tmp_path):
    arguments, message = BAD[case]
    workdir = tmp_path / "run"
    code, out, err = call(
        capsys, "mnist_lenet5", "--smoke", "--workdir", workdir, *arguments
    )
    assert code == 2
    assert message in out + err
    assert not (workdir / "checkpoints").exists()


def test_a_batch_that_the_devices_cannot_share_is_refused(capsys, tmp_path):
    code, _, err = call(
        capsys, "mnist_lenet5", "--smoke", "--batch-size", "100", "--workdir", tmp_path
    )
    assert code == 2
    assert "100 is not divisible by the 8 devices: use 96 or 104" in err


def test_a_workdir_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    workdir = tmp_path / "file" / "run"
    code, _, err = call(capsys, "mnist_mlp", "--smoke", "--workdir", workdir)
    assert code == 2
    assert "cannot be written" in err and "--workdir" in err


@pytest.mark.slow
def test_finished_changed_and_busy_workdirs(capsys, tmp_path):
    workdir = tmp_path / "run"
    arguments = [
        "mnist_perceptron",
        "--smoke",
        "--batch-size",
        64,
        "--workdir",
        workdir,
    ]
    assert call(capsys, *arguments)[0] == 0
    before = (workdir / "result.json").read_bytes()

    code, out, _ = call(capsys, *arguments)
    assert code == 0 and "this run is finished" in out
    assert (workdir / "result.json").read_bytes() == before

    changes = ["--seed", "3", "--learning-rate", "0.2"]
    code, _, err = call(capsys, *arguments, *changes)
    assert code == 2
    assert "seed: was 0, now 3" in err
    assert "learning_rate: was 0.1, now 0.2" in err
    assert "epochs" not in err

    import fcntl

    (workdir / "result.json").unlink()
    with open(workdir / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = call(capsys, *arguments)
    assert code == 2 and "another process" in err


@pytest.mark.slow
def test_a_mistake_does_not_claim_the_workdir(capsys, tmp_path):
    workdir = ["--workdir", tmp_path / "run"]
    arguments = ["mnist_perceptron", "--smoke", "--devices", 1, *workdir]
    code, _, err = call(capsys, *arguments, "--batch-size", "4096")
    assert code == 2 and "batch size 4096 exceeds" in err
    code, _, err = call(capsys, *arguments, "--epochs", "1")
    assert code == 0, err


def comparable(workdir):
    """What must be equal between two runs: result and rows without clocks."""
    timings = {
        "seconds", "images_per_second", "data_wait", "dispatch", "device", "memory_gb"
    }  # fmt: skip
    result = json.loads((workdir / "result.json").read_text())
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return {
        key: value
        for key, value in result.items()
        if key.startswith(("test_", "validation_")) or "digest" in key
    }, [
        {key: value for key, value in json.loads(line).items() if key not in timings}
        for line in lines
    ]


@pytest.mark.slow
def test_kill_9_at_any_moment_and_ctrl_c_end_in_the_same_bits(tmp_path):
    arguments = ["--smoke", "--epochs", "12"]
    quiet = launch("mnist_lenet5", *arguments, "--workdir", tmp_path / "quiet")
    assert quiet.returncode == 0, quiet.stderr

    chaos = tmp_path / "chaos"
    command = [sys.executable, "-m", "experiments.mnist_lenet5", *arguments,
               "--workdir", str(chaos)]  # fmt: skip
    seed = random.randrange(10**6)
    print(f"kills drawn from seed {seed}")
    draw = random.Random(seed)
    interruptions = 0
    for attempt in range(40):
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"XLA_FLAGS": ""},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if attempt < 4:
            rows_before = count_rows(chaos)
            deadline = time.monotonic() + 60
            # Let it get a little further each time, then strike.
            while count_rows(chaos) <= rows_before and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.15))
            strike = signal.SIGINT if attempt == 2 else signal.SIGKILL
            process.send_signal(strike)
        output, _ = process.communicate(timeout=120)
        if process.returncode == 0:
            break
        interruptions += 1
        assert process.returncode in (-signal.SIGKILL, 130), output
    assert process.returncode == 0, output
    assert interruptions >= 2
    assert comparable(chaos) == comparable(tmp_path / "quiet")


@pytest.mark.slow
def test_a_full_disk_ends_with_a_message_and_the_last_good_checkpoint(tmp_path):
    arguments = ["mnist_mlp", "--smoke", "--epochs", "6"]
    quiet = launch(*arguments, "--workdir", tmp_path / "quiet")
    assert quiet.returncode == 0, quiet.stderr

    workdir = tmp_path / "full"
    arguments += ["--workdir", workdir]  # a checkpoint of this network has 3 megabytes
    failed = launch(*arguments, python=("-c", WITH_SMALL_FILES))
    assert failed.returncode == 4, failed.stderr
    assert "could not be written" in failed.stderr
    assert "the last good one is none" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert launch(*arguments).returncode == 0
    assert comparable(workdir) == comparable(tmp_path / "quiet")


def count_rows(workdir):
    file = workdir / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.slow
def test_the_demo_learns_real_digits(tmp_path):
    options = ["--dataset", "mnist_5k", "--epochs", "15", "--workdir", tmp_path]
    done = launch("mnist_lenet5", *options)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["test_accuracy"] > 0.96


def test_digest_depends_on_paths_and_bits():
    import numpy as np

    params = {"b": {"kernel": np.ones(3, np.float32)}, "a": np.zeros(2, np.float32)}
    same = {"a": params["a"].copy(), "b": {"kernel": params["b"]["kernel"].copy()}}
    assert digest(params) == digest(same)
    renamed = {"b": {"weight": params["b"]["kernel"]}, "a": params["a"]}
    assert digest(params) != digest(renamed)
    nudged = {"b": {"kernel": params["b"]["kernel"] + 1e-7}, "a": params["a"]}
    assert digest(params) != digest(nudged)
