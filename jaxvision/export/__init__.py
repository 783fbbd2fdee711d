"""Finished networks in the formats of others: a file for each.

`stablehlo` needs JAX and no code of a model, `onnx` no JAX, and `safetensors` is for
the frameworks that the weights came from and for the hub.
"""
