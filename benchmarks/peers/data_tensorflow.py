"""The tf.data side of `data`, written as TensorFlow's own ImageNet pipelines are.

A file is decoded no further than its crop, in `workers` threads, or in the one that
asks for a batch.
"""

import os
import time
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

import tensorflow as tf

prepared: Any = None
"""The files, the batch size and what loads a file, from `begin` on."""


def begin(files, batch_size, side, mean, std):
    global prepared
    mean, std = tf.constant(mean), tf.constant(std)

    def load(path):
        content = tf.io.read_file(path)
        start, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(content),
            tf.zeros([1, 0, 4]),
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.concat([start[:2], size[:2]], axis=0)
        image = tf.image.decode_and_crop_jpeg(
            content, window, channels=3, dct_method="INTEGER_FAST"
        )
        image = tf.image.resize(image, (side, side))
        return (tf.image.random_flip_left_right(image) / 255 - mean) / std

    prepared = files, batch_size, load


def rate(workers):
    """Images per second of wall time and of CPU time, over all files once."""
    files, batch_size, load = prepared
    images = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files))
    images = images.map(load, workers or None).batch(batch_size, drop_remainder=True)
    if workers:
        images = images.prefetch(4)
    options = tf.data.Options()
    options.threading.private_threadpool_size = max(workers, 1)
    batches = images.with_options(options)
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(len(batch) for batch in batches)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return count / wall, count / cpu
