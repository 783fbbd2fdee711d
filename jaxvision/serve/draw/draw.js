// The page: strokes become pixels, the network runs, and what it computes is drawn.
"use strict";

const network = Layers.decoded(NETWORK);
const of = (id) => document.getElementById(id);
const made = (tag, fields = {}, ...content) => {
  const element = Object.assign(document.createElement(tag), fields);
  element.append(...content);
  return element;
};
const number = (value, digits = 3) =>
  value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", "−");
const percent = (share) => `${(100 * share).toFixed(1)} %`;

// ---- The layers that are shown: the image as it is prepared, and what follows.

const begin = network.layers.findIndex((layer) => ["conv", "dense"].includes(layer.kind));
const sizeOf = (n) => (n ? network.layers[n - 1].shape : network.size);
const stages = [
  { name: "image", words: "prepared", shape: sizeOf(begin), at: begin, layer: null },
  ...network.layers.slice(begin).map((layer, n) => ({
    name: layer.name,
    words: { conv: "convolution", dense: "fully connected", max_pool: "maximum",
      avg_pool: "mean", pad: "padding", scale: "scaled" }[layer.kind]
      + (layer.activation ? `, ${layer.activation}` : ""),
    shape: layer.shape, at: begin + n + 1, layer,
  })),
];
const last = stages.length - 1;

let strokes = [];
let values = null;
let pixels = null;
let chosen = null; // { stage, unit, channel }

// ---- Strokes.

const pad = of("pad");
const ink = pad.getContext("2d", { willReadFrequently: true });
const SIDE = pad.width;
const pen = { x: SIDE / 2, y: SIDE / 2, down: false, shown: false };

function paint() {
  ink.fillStyle = "#000";
  ink.fillRect(0, 0, SIDE, SIDE);
  ink.strokeStyle = ink.fillStyle = "#fff";
  ink.lineCap = ink.lineJoin = "round";
  for (const { width, points } of strokes) {
    ink.lineWidth = width;
    ink.beginPath();
    ink.moveTo(...points[0]);
    for (const point of points) ink.lineTo(...point);
    ink.stroke();
  }
}

/** What is drawn as the bytes of an image of the network's size, row by row. */
function scanned() {
  paint();
  const { data } = ink.getImageData(0, 0, SIDE, SIDE);
  const level = (x, y) =>
    x < 0 || y < 0 || x >= SIDE || y >= SIDE ? 0 : data[4 * (Math.floor(y) * SIDE + Math.floor(x))];
  const [height, width] = network.size;
  let scale = SIDE / Math.max(height, width), x0 = 0, y0 = 0;
  if (of("centre").checked) {
    // As MNIST was made: the digit fits a square of 20 of 28 pixels, and its centre of
    // mass is in the middle.
    let left = SIDE, right = -1, top = SIDE, bottom = -1, mass = 0, x = 0, y = 0;
    for (let row = 0; row < SIDE; row++)
      for (let column = 0; column < SIDE; column++) {
        const value = data[4 * (row * SIDE + column)];
        if (!value) continue;
        left = Math.min(left, column); right = Math.max(right, column);
        top = Math.min(top, row); bottom = Math.max(bottom, row);
        mass += value; x += value * (column + 0.5); y += value * (row + 0.5);
      }
    if (mass) {
      const extent = Math.max(right - left + 1, bottom - top + 1, SIDE / 8);
      scale = extent / ((20 / 28) * Math.min(height, width));
      x0 = x / mass - (width / 2) * scale;
      y0 = y / mass - (height / 2) * scale;
    }
  }
  const FINE = 6; // samples along each side of a pixel
  const found = new Uint8Array(height * width);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let v = 0; v < FINE; v++)
        for (let u = 0; u < FINE; u++)
          sum += level(x0 + (column + (u + 0.5) / FINE) * scale, y0 + (row + (v + 0.5) / FINE) * scale);
      found[row * width + column] = Math.round(sum / (FINE * FINE));
    }
  return found;
}

let due = false;
let since = 0;

/** Everything anew with the next frame, however many points come until then. */
function changed(stamp) {
  if (!due) {
    due = true;
    since = stamp;
    requestAnimationFrame(update);
  }
}

function update() {
  due = false;
  pixels = scanned();
  showPen();
  values = Layers.run(network, pixels);
  showGuess();
  stages.forEach((_, n) => drawStage(n));
  showUnit();
  const spent = performance.now() - since;
  document.body.dataset.latency = spent.toFixed(2);
  of("speed").textContent = strokes.length ? `From your stroke to the guess: ${spent.toFixed(1)} ms.` : "";
}

const position = (event) => {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE];
};

pad.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  pad.setPointerCapture(event.pointerId);
  pen.shown = false;
  strokes.push({ width: Number(of("pen").value), points: [position(event)], pointer: event.pointerId });
  changed(event.timeStamp);
});
pad.addEventListener("pointermove", (event) => {
  const stroke = strokes.find((each) => each.pointer === event.pointerId);
  if (!stroke) return;
  const passed = event.getCoalescedEvents?.() ?? [];
  stroke.points.push(...(passed.length ? passed : [event]).map(position));
  changed(event.timeStamp);
});
for (const kind of ["pointerup", "pointercancel"])
  pad.addEventListener(kind, (event) => {
    for (const stroke of strokes) if (stroke.pointer === event.pointerId) stroke.pointer = null;
    settled();
  });

pad.addEventListener("keydown", (event) => {
  const step = event.shiftKey ? 4 : 12;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key in moves) {
    const [dx, dy] = moves[event.key];
    pen.x = Math.min(Math.max(pen.x + dx, 0), SIDE);
    pen.y = Math.min(Math.max(pen.y + dy, 0), SIDE);
    pen.shown = true;
    if (pen.down) strokes[strokes.length - 1].points.push([pen.x, pen.y]);
  } else if (event.key === " ") {
    pen.down = !pen.down;
    pen.shown = true;
    if (pen.down) strokes.push({ width: Number(of("pen").value), points: [[pen.x, pen.y]] });
    else settled();
  } else if (event.key === "Backspace" || event.key === "Delete") undo();
  else return;
  event.preventDefault();
  changed(event.timeStamp);
});
pad.addEventListener("blur", () => {
  pen.down = pen.shown = false;
  changed(performance.now());
});

function undo() {
  strokes.pop();
  pen.down = false;
  changed(performance.now());
  settled();
}
of("undo").addEventListener("click", undo);
of("clear").addEventListener("click", () => {
  strokes = [];
  pen.down = false;
  changed(performance.now());
  settled();
});
of("centre").addEventListener("change", (event) => {
  changed(event.timeStamp);
  settled();
});

/** Where the pen is that the keyboard moves; it is no ink. */
function showPen() {
  of("hint").hidden = strokes.length > 0 || pen.shown;
  if (!pen.shown) return;
  ink.lineWidth = 2;
  ink.strokeStyle = pen.down ? "#ff9a4d" : "#5bb8f5";
  ink.beginPath();
  ink.arc(pen.x, pen.y, Number(of("pen").value) / 2 + 4, 0, 2 * Math.PI);
  ink.stroke();
}

// ---- The guess.

const bars = network.classes.map((name) => {
  const bar = made("span", { className: "bar" });
  const share = made("span", { className: "share" });
  const row = made("li", {}, made("span", {}, name), made("span", { className: "track" }, bar), share);
  of("bars").append(row);
  return { row, bar, share };
});

function showGuess() {
  const shares = Layers.softmax(values[values.length - 1]);
  const order = shares.map((_, k) => k).sort((a, b) => shares[b] - shares[a]);
  const blank = !strokes.length;
  bars.forEach(({ row, bar, share }, k) => {
    bar.style.width = blank ? 0 : `${100 * shares[k]}%`;
    share.textContent = blank ? "" : percent(shares[k]);
    row.className = !blank && k === order[0] ? "best" : "";
  });
  const [first, second] = order;
  const said = blank ? "?" : network.classes[first];
  if (of("first").textContent !== said) of("first").textContent = said;
  of("first-share").textContent = blank ? "Nothing is drawn yet" : `with ${percent(shares[first])}`;
  of("second").textContent = blank ? "" : `second guess: ${network.classes[second]}, ${percent(shares[second])}`;
  Object.assign(document.body.dataset, blank ? { first: "", second: "" }
    : { first: network.classes[first], second: network.classes[second] });
}

/** After a stroke: the guess is said to those who do not see it, and where the page is
 * served beside the run itself, that one is asked as well. */
let turns = 0;
async function settled() {
  const turn = ++turns;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const blank = !strokes.length;
  of("said").textContent = blank ? "The paper is blank."
    : `First guess ${document.body.dataset.first}, ${of("first-share").textContent}; ${of("second").textContent}.`;
  if (blank) of("original").textContent = "";
  if (blank || !network.served) return;
  const [height, width] = network.size;
  const image = new ImageData(width, height);
  pixels.forEach((value, n) => image.data.set([value, value, value, 255], 4 * n));
  const canvas = made("canvas", { width, height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  const ours = Layers.softmax(values[values.length - 1]);
  const file = await new Promise((done) => canvas.toBlob(done, "image/png"));
  let words;
  try {
    const answer = await fetch("predict?arrays", { method: "POST", body: file });
    const found = await answer.json();
    if (!answer.ok) throw new Error(found.error);
    const theirs = found.predictions.probabilities;
    const apart = Math.max(...theirs.map((share, k) => Math.abs(share - ours[k])));
    document.body.dataset.apart = apart;
    words = `The run itself computes the same: the probabilities differ by ${apart.toExponential(0)} at most.`;
    if (apart > 1e-4) words = `The run itself differs by ${apart.toExponential(1)}.`;
  } catch (error) {
    words = `The run itself does not answer (${error.message}).`;
  }
  if (turn === turns) of("original").textContent = words;
}

// ---- The layers.

/** How a layer lies on its canvas: a map for each channel, or a cell for each unit. */
function layout(shape, isLast) {
  if (shape.length === 1) {
    const [count] = shape;
    const cell = isLast ? 24 : count <= 130 ? 11 : 8;
    const across = isLast ? 1 : Math.ceil(Math.sqrt(count / 2.2));
    const down = Math.ceil(count / across);
    return {
      width: across * (cell + 2), height: down * (cell + 2),
      rectangle: (n) => [(n % across) * (cell + 2), Math.floor(n / across) * (cell + 2), cell, cell],
      unit: (x, y) => Math.min(Math.floor(x / (cell + 2)), across - 1) + across * Math.floor(y / (cell + 2)),
      across, zoom: cell,
    };
  }
  const [height, width, channels] = shape;
  const target = channels === 1 ? 112 : height >= 20 ? 56 : height >= 10 ? 44 : 32;
  const zoom = Math.max(Math.round(target / height), 1);
  const rows = Math.min(channels, 8);
  const across = Math.ceil(channels / rows);
  const [wide, tall] = [width * zoom + 6, height * zoom + 6];
  return {
    width: across * wide - 6, height: rows * tall - 6,
    rectangle: (n) => {
      const { row, column, channel } = Layers.place(shape, n);
      return [(channel % across) * wide + column * zoom, Math.floor(channel / across) * tall + row * zoom, zoom, zoom];
    },
    corner: (channel) => [(channel % across) * wide, Math.floor(channel / across) * tall],
    unit: (x, y) => {
      const channel = Math.min(Math.floor(x / wide), across - 1) + across * Math.floor(y / tall);
      const column = Math.min(Math.floor((x % wide) / zoom), width - 1);
      const row = Math.min(Math.floor((y % tall) / zoom), height - 1);
      return (row * width + column) * channels + channel;
    },
    across, zoom,
  };
}

stages.forEach((stage, n) => {
  stage.layout = layout(stage.shape, n === last);
  const size = stage.shape.join("×");
  const canvas = made("canvas", { width: stage.layout.width, height: stage.layout.height, tabIndex: 0 });
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `${stage.name}: ${size} ${stage.words}. Arrow keys choose a unit.`);
  const caption = made("figcaption", {}, made("b", {}, stage.name), size, made("br"), made("small", {}, stage.words));
  stage.figure = made("figure", { className: "layer", id: `layer-${n}` }, caption, canvas);
  stage.canvas = canvas;
  of("flow").append(stage.figure);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const unit = stage.layout.unit(
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    );
    if (unit < Layers.count(stage.shape)) choose(n, unit);
  });
  canvas.addEventListener("keydown", (event) => moveChoice(event, n));
  const box = made("input", { type: "checkbox", checked: true });
  box.addEventListener("change", () => {
    stage.figure.hidden = !box.checked;
    showLines();
  });
  of("switches").append(made("label", {}, box, stage.name));
});

const colours = {};
function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["above", "below", "zero"]) {
    const code = style.getPropertyValue(`--${name}`).trim();
    colours[name] = [1, 3, 5].map((at) => parseInt(code.slice(at, at + 2), 16));
  }
  // As pixels, from the lowest value to the highest; and greys.
  colours.signed = Uint32Array.from({ length: 2 * SHADES + 1 }, (_, n) => packed(colour(n - SHADES, SHADES)));
  colours.grey = Uint32Array.from({ length: 256 }, (_, level) => packed([level, level, level]));
}

const SHADES = 1000;
const packed = ([red, green, blue]) => (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;

/** The colour of a value whose largest magnitude is `most`, as [red, green, blue]. */
function colour(value, most) {
  const share = Math.sqrt(Math.min(Math.abs(value) / most, 1));
  const end = value < 0 ? colours.below : colours.above;
  return colours.zero.map((level, n) => Math.round(level + share * (end[n] - level)));
}

/** Numbers on a canvas as their layout says, written pixel by pixel: a rectangle for
 * each of 50,000 units would take longer than all that the network computes. */
function fill(canvas, place, numbers, grey = false) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const cells = new Uint32Array(image.data.buffer);
  place.starts ??= Int32Array.from(numbers, (_, n) => {
    const [x, y] = place.rectangle(n);
    return y * canvas.width + x;
  });
  const low = grey ? Math.min(...numbers) : 0, high = grey ? Math.max(...numbers) : 0;
  const most = strongest(numbers), size = place.zoom;
  for (let n = 0; n < numbers.length; n++) {
    const cell = grey
      ? colours.grey[Math.round((255 * (numbers[n] - low)) / Math.max(high - low, 1e-9))]
      : colours.signed[Math.round((numbers[n] / most) * SHADES) + SHADES];
    for (let row = 0; row < size; row++) {
      const start = place.starts[n] + row * canvas.width;
      cells.fill(cell, start, start + size);
    }
  }
  context.putImageData(image, 0, 0);
  return context;
}

const strongest = (numbers) => numbers.reduce((most, each) => Math.max(most, Math.abs(each)), 1e-9);

function drawStage(n) {
  const { canvas, layout: place, at } = stages[n];
  const numbers = values[at];
  const context = fill(canvas, place, numbers, n === 0);
  if (n === last) {
    const most = strongest(numbers);
    context.font = "600 14px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    numbers.forEach((value, unit) => {
      const [x, y, wide, tall] = place.rectangle(unit);
      const light = colour(value, most).reduce((a, b) => a + b, 0) > 390;
      context.fillStyle = light ? "#000" : "#fff";
      context.fillText(network.classes[unit], x + wide / 2, y + tall / 2 + 1);
    });
  }
}

// ---- The unit that is chosen.

function choose(stage, unit, channel = null) {
  chosen = { stage, unit, channel };
  showUnit();
}

function moveChoice(event, n) {
  const { shape } = stages[n];
  const vector = shape.length === 1;
  const [height, width, channels] = vector ? [1, 1, shape[0]] : shape;
  const across = stages[n].layout.across;
  let { row, column, channel } = Layers.place(shape, chosen?.stage === n ? chosen.unit : 0);
  const fresh = chosen?.stage !== n;
  switch (event.key) {
    case "ArrowLeft": vector ? (channel -= 1) : (column -= 1); break;
    case "ArrowRight": vector ? (channel += 1) : (column += 1); break;
    case "ArrowUp": vector ? (channel -= across) : (row -= 1); break;
    case "ArrowDown": vector ? (channel += across) : (row += 1); break;
    case "PageUp": channel -= 1; break;
    case "PageDown": channel += 1; break;
    case "Enter": case " ": break;
    default: return;
  }
  event.preventDefault();
  if (fresh) ({ row, column, channel } = { row: height >> 1, column: width >> 1, channel: 0 });
  const kept = (value, end) => Math.min(Math.max(value, 0), end - 1);
  choose(n, (kept(row, height) * width + kept(column, width)) * channels + kept(channel, channels));
}

const where = (shape, { row, column, channel }) =>
  shape.length === 1 ? `unit ${channel}` : (shape[2] > 1 ? `map ${channel}, ` : "") + `row ${row}, column ${column}`;

function showUnit() {
  showLines();
  of("sum").replaceChildren();
  if (!chosen || !values) return;
  const { stage: n, unit } = chosen;
  const { name, shape, layer, at } = stages[n];
  const value = values[at][unit];
  const place = Layers.place(shape, unit);
  const label = n === last ? ` (for ${network.classes[place.channel]})` : "";
  of("unit").textContent = `${name}, ${where(shape, place)}${label}: ${number(value)}`;
  Object.assign(document.body.dataset, { unit: `${name} ${unit}`, value });
  if (!layer) {
    of("sum").append(made("p", { className: "help" }, "A pixel of the image, as the network takes it."));
    return;
  }
  const before = stages[n - 1];
  const found = Layers.explained(layer, values[at - 1], before.shape, unit);
  document.body.dataset.sum = found.value;
  of("sum").append(...(layer.kind === "dense" ? ofDense : found.terms[0] && layer.kind === "conv" ? ofConv : ofPool)(layer, before, found));
}

const result = (layer, found) => {
  const sum = made("b", {}, number(found.sum));
  return layer.activation
    ? ["= ", sum, ` → ${layer.activation}(${number(found.sum)}) = `, made("b", {}, number(found.value))]
    : ["= ", sum];
};

/** Numbers in rows, coloured by their signs, as a table. */
function table(caption, rows, most) {
  const body = rows.map((row) => made("tr", {}, ...row.map((value) => {
    const [red, green, blue] = colour(value, most);
    const cell = made("td", {}, number(value, 2));
    cell.style.background = `rgb(${red},${green},${blue})`;
    cell.style.color = red * 0.299 + green * 0.587 + blue * 0.114 > 140 ? "#000" : "#fff";
    return cell;
  })));
  return made("table", { className: "numbers" }, made("caption", {}, caption), made("tbody", {}, ...body));
}

const cut = (terms, width, key) => {
  const rows = [];
  for (let n = 0; n < terms.length; n += width) rows.push(terms.slice(n, n + width).map((term) => term[key]));
  return rows;
};

function ofConv(layer, before, found) {
  const channels = new Map();
  for (const term of found.terms) {
    if (!channels.has(term.channel)) channels.set(term.channel, []);
    channels.get(term.channel).push(term);
  }
  const sums = [...channels].map(([channel, terms]) => [channel, terms.reduce((sum, term) => sum + term.product, 0)]);
  const best = sums.reduce((a, b) => (Math.abs(b[1]) > Math.abs(a[1]) ? b : a))[0];
  const shown = chosen.channel ?? best;
  const content = [];
  const parts = sums.length > 1 ? `the sums over ${sums.length} maps of ${before.name}` : "the sum";
  content.push(made("p", { className: "formula" }, `Kernel × patch: ${parts}, `,
    sums.length > 1 ? `${number(sums.reduce((a, [, sum]) => a + sum, 0))}, ` : `${number(sums[0][1])}, `,
    `and the bias ${number(found.bias)} `, ...result(layer, found)));
  if (sums.length > 1) {
    const buttons = sums.map(([channel, sum]) => {
      const button = made("button", { type: "button" }, `map ${channel}: ${number(sum, 2)}`);
      button.setAttribute("aria-pressed", channel === shown);
      button.addEventListener("click", () => {
        choose(chosen.stage, chosen.unit, channel);
        document.querySelector(".channels [aria-pressed=true]")?.focus();
      });
      return made("li", {}, button);
    });
    content.push(made("ul", { className: "channels" }, ...buttons));
  }
  const terms = channels.get(shown);
  const most = (key) => strongest(terms.map((term) => term[key]));
  const name = sums.length > 1 ? `${before.name}, map ${shown}` : before.name;
  const { width } = found.area;
  content.push(made("div", { className: "tables" },
    table(`patch of ${name}`, cut(terms, width, "input"), most("input")),
    made("span", { className: "sign" }, "×"),
    table("kernel", cut(terms, width, "weight"), most("weight")),
    made("span", { className: "sign" }, "="),
    table(`products, sum ${number(terms.reduce((sum, term) => sum + term.product, 0), 2)}`, cut(terms, width, "product"), most("product"))));
  return content;
}

function ofPool(layer, before, found) {
  const inputs = found.terms.map((term) => term.input);
  const words = layer.kind === "max_pool" ? "The largest of its window " : "The mean of its window ";
  return [
    made("p", { className: "formula" }, words, ...result(layer, found)),
    made("div", { className: "tables" }, table(`patch of ${before.name}`, cut(found.terms, found.area.width, "input"), strongest(inputs))),
  ];
}

const LISTED = 12;
function ofDense(layer, before, found) {
  const terms = [...found.terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const listed = terms.slice(0, LISTED), others = terms.slice(LISTED);
  const rest = others.reduce((sum, term) => sum + term.product, 0);
  const total = terms.reduce((sum, term) => sum + term.product, 0);
  const row = (term) => made("tr", {},
    made("th", { scope: "row" }, where(before.shape, term)),
    ...["input", "weight", "product"].map((key) => made("td", {}, number(term[key]))));
  const heads = [before.name, "input", "× weight", "= product"].map((words) => made("th", { scope: "col" }, words));
  const body = listed.map(row);
  if (others.length) body.push(made("tr", {}, made("th", { scope: "row" }, `${others.length} others`),
    made("td"), made("td"), made("td", {}, number(rest))));
  return [
    made("p", { className: "formula" }, `The sum of ${terms.length} products ${number(total)} and the bias ${number(found.bias)} `, ...result(layer, found)),
    made("div", { className: "tables" },
      made("table", { className: "numbers" }, made("caption", {}, "the strongest first"),
        made("thead", {}, made("tr", {}, ...heads)), made("tbody", {}, ...body)),
      ...pictures(before, found)),
  ];
}

/** Inputs, weights and products of a unit that reads all of a map, as pictures. */
function pictures(before, found) {
  const drawn = ["input", "weight", "product"].map((key) => {
    const place = layout(before.shape, false);
    const canvas = made("canvas", { width: place.width, height: place.height });
    const numbers = found.terms.map((term) => term[key]);
    fill(canvas, place, numbers);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `all ${numbers.length} ${key}s as a picture`);
    return made("figure", { className: "layer" }, made("figcaption", {}, `all ${key}s`), canvas);
  });
  const [input, weight, product] = drawn;
  const sign = (text) => made("span", { className: "sign" }, text);
  return [input, sign("×"), weight, sign("="), product];
}

/** The unit, the part of the layer before that it reads, and lines between them. */
function showLines() {
  const drawn = [];
  const svg = (d) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", d);
    drawn.push(path);
  };
  if (chosen && values && !stages[chosen.stage].figure.hidden) {
    const frame = of("flow").getBoundingClientRect();
    const onPage = (stage, [x, y, wide, tall]) => {
      const box = stage.canvas.getBoundingClientRect();
      const scale = box.width / stage.canvas.width;
      return [box.left - frame.left + x * scale, box.top - frame.top + y * scale, wide * scale, tall * scale];
    };
    const outline = ([x, y, wide, tall]) => svg(`M${x} ${y}h${wide}v${tall}h${-wide}Z`);
    const stage = stages[chosen.stage];
    const unit = onPage(stage, stage.layout.rectangle(chosen.unit));
    const before = stages[chosen.stage - 1];
    if (before && !before.figure.hidden) {
      const found = Layers.explained(stage.layer, values[stage.at - 1], before.shape, chosen.unit);
      let parts;
      if (found.area) {
        const [height, width] = before.shape, { zoom } = before.layout;
        const top = Math.max(found.area.top, 0), left = Math.max(found.area.left, 0);
        const bottom = Math.min(found.area.top + found.area.height, height);
        const right = Math.min(found.area.left + found.area.width, width);
        const channels = [...new Set(found.terms.map((term) => term.channel))];
        parts = channels.map((channel) => {
          const [x, y] = before.layout.corner(channel);
          return [x + left * zoom, y + top * zoom, (right - left) * zoom, (bottom - top) * zoom];
        });
      } else {
        parts = found.terms.map((term, n) => [Math.abs(term.product), n]).sort((a, b) => b[0] - a[0])
          .slice(0, 24).map(([, n]) => before.layout.rectangle(n));
      }
      for (const part of parts) {
        const [x, y, wide, tall] = onPage(before, part);
        outline([x, y, wide, tall]);
        svg(`M${x + wide} ${y}L${unit[0]} ${unit[1]}V${unit[1] + unit[3]}L${x + wide} ${y + tall}Z`);
      }
    }
    outline(unit);
  }
  of("lines").replaceChildren(...drawn);
}

new ResizeObserver(showLines).observe(of("flow"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  update();
});

of("about").textContent = `${network.title}: ${network.layers.filter((layer) => ["conv", "dense"].includes(layer.kind)).length} layers with weights, `
  + `${network.parameters.toLocaleString("en")} numbers. It runs in this page.`;
readColours();
update();
