"""`python -m jaxvision prepare`."""

import tyro


def prepare(name: tyro.conf.Positional[str], data_dir: str | None = None) -> None:
    """Download and prepare a data set, unless it is there.

    Args:
        name: As in `--dataset` of the experiments, such as mnist or cifar10.
        data_dir: Where data sets are kept. Default: the environment's TFDS_DATA_DIR,
            else ~/tensorflow_datasets.
    """
    from jaxvision.data import registry

    print(f"{name} is ready in {registry.prepare(name, data_dir)}")
