import matplotlib
import numpy as np
import pytest

from jaxvision import visualise
from jaxvision.errors import UsageError
from jaxvision.measures import Measure

MEASURES = (
    Measure("accuracy", "%", "higher", 2),
    Measure("loss", better="lower"),
    Measure("top5_accuracy", "%", "higher", 2),
)


def history(epochs=5, *, train=True, validation=True, falls=2.0):
    rows = []
    for epoch in range(1, epochs + 1):
        where = {"step": 10 * epoch, "epoch": float(epoch), "learning_rate": 0.1}
        # Accuracy is best at the last epoch but one, the loss at the last one.
        accuracy = 0.5 if epoch == epochs else 0.9 + epoch / 1000
        for split, wanted in (("train", train), ("validation", validation)):
            if wanted:
                rows.append(
                    where
                    | {
                        f"{split}/loss": 3.0 / falls**epoch,
                        f"{split}/accuracy": accuracy,
                        f"{split}/top5_accuracy": 0.99,
                        f"{split}/only_{split}": 1.0,
                    }
                )
    return rows


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes]


def lines(axis):
    return {line.get_label(): line for line in axis.lines}


def test_panels_are_the_shared_metrics_and_loss_comes_first():
    figure = visualise.curves(history(), MEASURES)
    assert titles(figure) == ["loss", "accuracy", "top5 accuracy"]
    drawn = lines(figure.axes[0])
    np.testing.assert_allclose(drawn["train"].get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_allclose(drawn["validation"].get_ydata()[:2], [1.5, 0.75])
    assert drawn["train"].get_color() != drawn["validation"].get_color()


def test_a_row_may_hold_both_splits():
    rows = [{"step": 1, "epoch": 1, "train/loss": 2.0, "validation/loss": 3.0}]
    drawn = lines(visualise.curves(rows).axes[0])
    assert drawn["train"].get_ydata() == [2.0]
    assert drawn["validation"].get_ydata() == [3.0]


def test_loss_is_logarithmic_only_beyond_a_decade():
    narrow = visualise.curves(history(3), MEASURES).axes
    wide = visualise.curves(history(5), MEASURES).axes
    assert [axis.get_yscale() for axis in narrow] == ["linear"] * 3
    assert [axis.get_yscale() for axis in wide] == ["log", "linear", "linear"]


@pytest.mark.parametrize(
    ("best_step", "epoch", "words"),
    [(None, 4, "90.40 % at epoch 4"), (20, 2, "90.20 % at epoch 2")],
)
def test_best_validation_is_marked(best_step, epoch, words):
    figure = visualise.curves(history(), MEASURES, best_step=best_step)
    for axis in figure.axes:
        assert list(lines(axis)["best on validation"].get_xdata()) == [epoch, epoch]
    assert figure.axes[1].get_title(loc="right") == words


def test_without_accuracy_the_lowest_loss_is_best():
    rows = [
        {"step": i, "epoch": i, "validation/loss": abs(i - 3) + 1} for i in range(6)
    ]
    axis = visualise.curves(rows).axes[0]
    assert lines(axis)["best on validation"].get_xdata()[0] == 3


def test_train_alone_is_drawn_without_a_mark():
    figure = visualise.curves(history(validation=False))
    assert titles(figure)[:2] == ["loss", "accuracy"]
    assert set(lines(figure.axes[0])) == {"train"}


def test_values_that_are_not_finite_are_left_out():
    rows = history(3)
    rows[2]["train/loss"] = None
    rows[4]["train/loss"] = float("nan")
    drawn = lines(visualise.curves(rows).axes[0])["train"]
    assert list(drawn.get_xdata()) == [1.0]


@pytest.mark.parametrize("rows", [[], [{"step": 1, "epoch": 1, "learning_rate": 0.1}]])
def test_a_history_without_metrics_is_an_error(rows):
    with pytest.raises(UsageError, match=rf"no curves.*got\s{len(rows)} rows"):
        visualise.curves(rows)


def test_compare_overlays_runs_against_each_axis():
    runs = {
        "pattern": [
            {"step": 1000 * e, "epoch": e, "validation/loss": 1 / (e + 1)}
            for e in range(4)
        ],
        "epoch": [
            {"step": e, "epoch": e, "validation/loss": 2 / (e + 1)} for e in range(4)
        ],
    }
    by_epoch, by_updates = visualise.compare(
        runs, measures=MEASURES
    ).axes  # nobody measured seconds
    assert (by_epoch.get_xscale(), by_updates.get_xscale()) == ("linear", "log")
    assert (by_epoch.get_xlabel(), by_updates.get_xlabel()) == ("epoch", "updates")
    assert list(lines(by_updates)["pattern"].get_xdata()) == [0, 1000, 2000, 3000]
    assert lines(by_epoch)["epoch"].get_ydata()[0] == 2
    assert by_epoch.get_title(loc="left") == "validation loss"
    assert by_epoch.get_ylim() == by_updates.get_ylim()


def test_compare_with_seconds_and_many_runs():
    rows = [
        {"step": i, "epoch": i, "seconds": i / 2, "validation/loss": 1.0}
        for i in (1, 2)
    ]
    runs = {f"run {i}": rows for i in range(8)}
    runs["without a clock"] = [{"step": 1, "epoch": 1, "validation/loss": 5.0}]
    figure = visualise.compare(runs, measures=MEASURES)
    assert len({axis.get_ylim() for axis in figure.axes}) == 1
    assert [axis.get_xlabel() for axis in figure.axes][2] == "training time [s]"
    strokes = {
        (line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines
    }
    assert len(strokes) == 9


def test_compare_refuses_what_it_cannot_draw():
    with pytest.raises(UsageError, match="unknown axis 'epochs': did you mean 'epoch'"):
        visualise.compare({"a": history()}, against=("epochs",))
    with pytest.raises(UsageError, match="no run has 'validation/los'"):
        visualise.compare({"a": history()}, metric="validation/los")


def test_global_style_is_left_alone():
    before = dict(matplotlib.rcParams)
    visualise.curves(history(), MEASURES)
    assert dict(matplotlib.rcParams) == before


def test_the_headline_is_drawn_though_training_does_not_measure_it():
    rows = [
        {"step": i, "epoch": i, "train/loss": 2.0, "validation/loss": 1.0}
        | {"validation/mean_iou": i / 10, "validation/pixel_accuracy": 0.5}
        for i in range(4)
    ]
    measures = (Measure("mean_iou", "%", "higher", 2), Measure("loss", better="lower"))
    figure = visualise.curves(rows, measures)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["loss", "mean iou"]
    assert figure.axes[1].get_title(loc="right") == "30.00 % at epoch 3"
