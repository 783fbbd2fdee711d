// The network itself: plain functions from numbers to numbers, without a page.
//
// A network is { size: [H, W], classes, layers }, and a layer has a kind, a shape, its
// arrays and options, as jaxvision/explain/chain.py finds them.  Maps [H, W, C] and
// vectors [D] are Float32Arrays, channels last.
"use strict";

const Layers = (() => {
  const ACTIVATIONS = {
    "": (x) => x,
    tanh: Math.tanh,
    relu: (x) => Math.max(x, 0),
    sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  };

  /** Arrays as numbers, in place of their bytes in base64. */
  function decoded(network) {
    const numbers = ({ shape, data }) => {
      const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
      return { shape, values: new Float32Array(bytes.buffer) };
    };
    const layers = network.layers.map((layer) => ({
      ...layer,
      arrays: Object.fromEntries(
        Object.entries(layer.arrays).map(([name, array]) => [name, numbers(array)]),
      ),
    }));
    return { ...network, layers };
  }

  const count = (shape) => shape.reduce((product, n) => product * n, 1);

  // A function for each kind: (layer, x, shape of x) -> values before the activation.
  const KINDS = {
    conv(layer, x, [height, width, channels]) {
      const [rows, columns, outputs] = layer.shape;
      const { shape, values: kernel } = layer.arrays.kernel;
      const [tall, wide] = shape;
      const [[top], [left]] = layer.pads;
      const y = new Float32Array(count(layer.shape));
      const sums = new Float64Array(outputs);
      for (let row = 0; row < rows; row++)
        for (let column = 0; column < columns; column++) {
          sums.set(layer.arrays.bias.values);
          for (let u = 0; u < tall; u++) {
            const i = row * layer.strides[0] + u - top;
            if (i < 0 || i >= height) continue;
            for (let v = 0; v < wide; v++) {
              const j = column * layer.strides[1] + v - left;
              if (j < 0 || j >= width) continue;
              for (let c = 0; c < channels; c++) {
                const value = x[(i * width + j) * channels + c];
                if (value === 0) continue;
                const at = ((u * wide + v) * channels + c) * outputs;
                for (let o = 0; o < outputs; o++) sums[o] += value * kernel[at + o];
              }
            }
          }
          y.set(sums, (row * columns + column) * outputs);
        }
      return y;
    },

    dense(layer, x) {
      const [outputs] = layer.shape;
      const kernel = layer.arrays.kernel.values;
      const sums = Float64Array.from(layer.arrays.bias.values);
      for (let n = 0; n < x.length; n++) {
        if (x[n] === 0) continue;
        for (let o = 0; o < outputs; o++) sums[o] += x[n] * kernel[n * outputs + o];
      }
      return Float32Array.from(sums);
    },

    scale(layer, x) {
      const { kernel, bias } = layer.arrays;
      const channels = bias.values.length;
      return x.map((value, n) => value * kernel.values[n % channels] + bias.values[n % channels]);
    },

    pad(layer, x, [height, width, channels]) {
      const [, columns] = layer.shape;
      const [[top], [left]] = layer.pads;
      const y = new Float32Array(count(layer.shape)).fill(layer.value);
      for (let row = 0; row < height; row++) {
        const begin = row * width * channels;
        y.set(x.subarray(begin, begin + width * channels), ((row + top) * columns + left) * channels);
      }
      return y;
    },

    max_pool: (layer, x, shape) => pooled(layer, x, shape, -Infinity, Math.max, 1),
    avg_pool: (layer, x, shape) =>
      pooled(layer, x, shape, 0, (a, b) => a + b, 1 / count(layer.window)),
  };

  function pooled(layer, x, [, width, channels], start, together, share) {
    const [rows, columns] = layer.shape;
    const y = new Float32Array(count(layer.shape));
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++)
        for (let c = 0; c < channels; c++) {
          let found = start;
          for (let u = 0; u < layer.window[0]; u++)
            for (let v = 0; v < layer.window[1]; v++) {
              const i = row * layer.window[0] + u, j = column * layer.window[1] + v;
              found = together(found, x[(i * width + j) * channels + c]);
            }
          y[(row * columns + column) * channels + c] = found * share;
        }
    return y;
  }

  /** The values after each layer, those of the pixels (from 0 to 255) first. */
  function run(network, pixels) {
    const values = [Float32Array.from(pixels)];
    let shape = network.size;
    for (const layer of network.layers) {
      const y = KINDS[layer.kind](layer, values[values.length - 1], shape);
      if (layer.activation)
        for (let n = 0; n < y.length; n++) y[n] = ACTIVATIONS[layer.activation](y[n]);
      values.push(y);
      shape = layer.shape;
    }
    return values;
  }

  function softmax(scores) {
    const largest = Math.max(...scores);
    const powers = Array.from(scores, (score) => Math.exp(score - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  /** Row, column and channel of the n-th value; of a vector its place is the channel. */
  function place(shape, n) {
    if (shape.length === 1) return { row: 0, column: 0, channel: n };
    const [, width, channels] = shape;
    const at = Math.floor(n / channels);
    return { row: Math.floor(at / width), column: at % width, channel: n % channels };
  }

  /** Which part of the map before a unit reads: { top, left, height, width }. */
  function patch(layer, { row, column }) {
    switch (layer.kind) {
      case "conv": {
        const [height, width] = layer.arrays.kernel.shape;
        const [[top], [left]] = layer.pads;
        return { top: row * layer.strides[0] - top, left: column * layer.strides[1] - left, height, width };
      }
      case "max_pool":
      case "avg_pool": {
        const [height, width] = layer.window;
        return { top: row * height, left: column * width, height, width };
      }
      default:
        return null;
    }
  }

  /** How unit n of a layer was made: its terms, each an input times a weight, and what
   * they add up to.  Terms: { row, column, channel, input, weight, product }. */
  function explained(layer, x, shape, n) {
    const unit = place(layer.shape, n);
    const terms = [];
    const add = (row, column, channel, input, weight) =>
      terms.push({ row, column, channel, input, weight, product: input * weight });
    let bias = 0;
    const area = patch(layer, unit);
    if (area) {
      const [height, width, channels] = shape;
      const pools = layer.kind !== "conv";
      for (let u = 0; u < area.height; u++)
        for (let v = 0; v < area.width; v++) {
          const i = area.top + u, j = area.left + v;
          const inside = i >= 0 && i < height && j >= 0 && j < width;
          for (let c = pools ? unit.channel : 0; c < (pools ? unit.channel + 1 : channels); c++) {
            const input = inside ? x[(i * width + j) * channels + c] : 0;
            const outputs = layer.shape[2];
            const weight = pools
              ? 1
              : layer.arrays.kernel.values[((u * area.width + v) * channels + c) * outputs + unit.channel];
            add(i, j, c, input, weight);
          }
        }
      if (!pools) bias = layer.arrays.bias.values[unit.channel];
    } else {
      const outputs = layer.shape[0];
      for (let m = 0; m < x.length; m++) {
        const { row, column, channel } = place(shape, m);
        add(row, column, channel, x[m], layer.arrays.kernel.values[m * outputs + n]);
      }
      bias = layer.arrays.bias.values[n];
    }
    const products = terms.map((term) => term.product);
    let sum = bias;
    if (layer.kind === "max_pool") sum = Math.max(...products);
    else {
      for (const product of products) sum += product;
      if (layer.kind === "avg_pool") sum /= products.length;
    }
    return { unit, area, terms, bias, sum, value: ACTIVATIONS[layer.activation](sum) };
  }

  return { count, decoded, explained, patch, place, run, softmax };
})();
