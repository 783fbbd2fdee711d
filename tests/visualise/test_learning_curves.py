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
    assert titles(figure) == ["loss", "accuracy", "top5 accuracy", "learning rate"]
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
    assert narrow[0].get_yscale() == "linear" and wide[0].get_yscale() == "log"


def scale_of(values, name, key):
    """The axes of a metric that took these values, epoch by epoch."""
    rows = [
        {"step": i, "epoch": i, "train/loss": 1.0, "validation/loss": 1.0, key: value}
        for i, value in enumerate(values)
    ]
    figure = visualise.curves(rows, MEASURES[::-1])
    return figure.axes[titles(figure).index(name)]


def test_the_learning_rate_and_the_norm_of_the_gradient_are_drawn():
    cosine = [1e-3 * np.cos(np.pi / 2 * i / 20) for i in range(20)]
    steps = [0.1] * 9 + [0.01] * 5 + [0.001] * 4
    rate = ("learning rate", "learning_rate")
    assert scale_of(cosine, *rate).get_yscale() == "linear"
    assert scale_of(steps, *rate).get_yscale() == "log"
    axis = scale_of([3.0, 2.0, 0.1], "gradient norm", "train/gradient_norm")
    assert axis.get_yscale() == "log"
    assert list(axis.lines[0].get_ydata()) == [3.0, 2.0, 0.1]


def heights(axis, *shares):
    return [axis.transData.transform((0, share))[1] for share in shares]


SHARE = ("top5 accuracy", "validation/top5_accuracy")


def test_the_last_errors_are_as_high_as_the_first():
    axis = scale_of([0.2, 0.9, 0.97, 0.985, 0.99], *SHARE)
    low, middle, high = heights(axis, 0.96, 0.98, 0.99)
    assert middle - low == pytest.approx(high - middle)
    ticks = [label.get_text() for label in axis.get_yticklabels()]
    assert sorted(ticks) == ["50 %", "80 %", "90 %", "95 %", "98 %", "99 %"]
    # A run that stays within a few per cent needs no such axis.
    assert scale_of([0.5, 0.6, 0.7], *SHARE).get_yscale() == "linear"


def test_no_error_at_all_lies_above_the_least(tmp_path):
    axis = scale_of([0.2, 0.99, 1.0], *SHARE)
    some, none, top = heights(axis, 0.99, 1.0, axis.get_ylim()[1])
    assert some < none < top
    assert "100 %" in [label.get_text() for label in axis.get_yticklabels()]
    visualise.save(axis.figure, tmp_path / "curves.png")
    assert scale_of([1.0, 1.0], *SHARE).get_yscale() == "linear"


@pytest.mark.parametrize(
    ("best_step", "epoch", "words"),
    [(None, 4, "90.40 % at epoch 4"), (20, 2, "90.20 % at epoch 2")],
)
def test_best_validation_is_marked(best_step, epoch, words):
    figure = visualise.curves(history(), MEASURES, best_step=best_step)
    for axis in figure.axes[:3]:
        assert list(lines(axis)["best on validation"].get_xdata()) == [epoch, epoch]
    assert "best on validation" not in lines(figure.axes[3])
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


def test_compare_lays_several_metrics_of_any_runs_over_each_other():
    runs = {"long": history(4), "$short$": history(2, train=False)}
    keys = ["validation/accuracy", "train/loss", "train/gradient_norm"]
    figure = visualise.compare(runs, keys, ["epoch"], MEASURES)
    assert titles(figure) == ["validation accuracy", "train loss"]
    both, alone = figure.axes
    assert list(lines(both)) == ["long", r"\$short\$"]
    assert [len(line.get_xdata()) for line in both.lines] == [4, 2]
    assert len(alone.lines[0].get_xdata()) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(
        lines(both)
    )


def test_compare_refuses_what_it_cannot_draw():
    with pytest.raises(UsageError, match="unknown axis 'epochs': did you mean 'epoch'"):
        visualise.compare({"a": history()}, against=("epochs",))
    with pytest.raises(UsageError, match="no run has 'validation/los'"):
        visualise.compare({"a": history()}, metrics=["validation/los"])


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
