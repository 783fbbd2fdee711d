"""From a source to batches: order, crops, decoding, pipelines."""
