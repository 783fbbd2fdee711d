"""What is said before a training."""

from jaxvision.runs import advice
from tests import tiny


def test_a_task_is_asked_about_the_first_batches():
    experiment = tiny.build(tiny.Config())
    assert advice.before_training(experiment) == ()

    def said(outputs, batches):
        images = sum(len(batch["image"]) for batch in batches)
        assert outputs["logits"].shape[0] == len(batches[0]["label"])
        return [f"{images} images"]

    asked = experiment._replace(task=experiment.task._replace(advice=said))
    size, batch = experiment.train.num_examples, experiment.train.batch_size
    count = min(size, advice.EXAMPLES) // batch * batch
    assert advice.before_training(asked) == [f"{count} images"]
