// The page: the pad, the bars and the pictures.
const PAD = 280, PEN = 11, STEP = 4, LEAP = 20; // units of the pad: its side, radius of the pen, moves
const model = JSON.parse(document.getElementById("network").textContent);
const layers = model.layers.map(unpacked);
const {classes, output} = model;
const find = id => document.getElementById(id);
const pad = find("pad");

let strokes = [], earlier = []; // strokes are lists of points; earlier drawings, for undo
let pen = null; // the stroke that is being drawn
let cursor = [PAD / 2, PAD / 2], shown = false; // the pen of the keyboard
let chosen = null, last = null, waiting = false, speaking = 0;

/** Return the drawing as ink from 0 to 1: how near each pixel is to the path of the pen. */
function ink() {
  const found = new Float32Array(PAD * PAD), points = strokes.flat();
  const spans = [0, 1].map(axis => {
    const [least, most] = points.reduce(
      ([low, high], point) => [Math.min(low, point[axis]), Math.max(high, point[axis])], [PAD, 0]);
    return most - least;
  });
  // As read_images does: no stroke is much thinner than those of MNIST.
  const radius = Math.max(PEN, Math.max(...spans) * THINNEST / BOX / 2);
  for (const stroke of strokes) {
    stroke.forEach((point, i) => segment(found, stroke[Math.max(0, i - 1)], point, radius));
  }
  return found;
}

function segment(found, [x0, y0], [x1, y1], radius) {
  const range = (a, b) => [
    Math.max(0, Math.floor(Math.min(a, b) - radius - 1)),
    Math.min(PAD, Math.ceil(Math.max(a, b) + radius + 1)),
  ];
  const [left, right] = range(x0, x1), [top, bottom] = range(y0, y1);
  const dx = x1 - x0, dy = y1 - y0, length = dx * dx + dy * dy || 1;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const px = x + 0.5 - x0, py = y + 0.5 - y0;
      const along = Math.min(1, Math.max(0, (px * dx + py * dy) / length));
      const value = radius + 0.5 - Math.hypot(px - along * dx, py - along * dy);
      if (value > found[y * PAD + x]) found[y * PAD + x] = Math.min(1, value);
    }
  }
}

/** Return a probability for each class: a single sigmoid is that of the second one. */
function probabilities(steps) {
  const values = steps.at(-1).values;
  return values.length === 1 ? [1 - values[0], values[0]] : Array.from(values);
}

/** Return the gradient of a class's score with respect to the weighted inputs of the last layer. */
function score(place) {
  const units = layers.at(-1).units;
  if (units === 1) return [place ? 1 : -1];
  const others = output === "softmax" ? 1 / units : 0;
  return Array.from({length: units}, (_, j) => (j === place ? 1 : 0) - others);
}

// --- what is shown

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawPad() {
  const context = pad.getContext("2d"), scale = pad.width / PAD;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, PAD, PAD);
  context.strokeStyle = colour("--ink");
  context.lineWidth = 2 * PEN;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    context.moveTo(...stroke[0]);
    for (const point of stroke) context.lineTo(...point);
    context.stroke();
  }
  if (shown) {
    context.strokeStyle = colour("--accent");
    context.lineWidth = 2;
    context.setLineDash(pen ? [] : [4, 3]);
    context.beginPath();
    context.arc(...cursor, PEN + 2, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
  }
}

/** Fill a canvas of 28 x 28 with a colour for each pixel, red, green and blue from 0 to 1. */
function paint(canvas, pixel) {
  const context = canvas.getContext("2d"), image = context.createImageData(SIDE, SIDE);
  for (let at = 0; at < SIDE * SIDE; at++) {
    image.data.set([...pixel(at).map(part => 255 * part), 255], 4 * at);
  }
  context.putImageData(image, 0, 0);
}

function drawViews() {
  const pixels = last ? last.pixels : new Uint8Array(SIDE * SIDE);
  paint(find("sees"), at => Array(3).fill(pixels[at] / 255));
  const place = chosen ?? (last ? last.surest : null);
  const values = last ? contributions(layers, last.steps, score(place)) : new Float64Array(SIDE * SIDE);
  const most = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  const [plus, minus] = [[0.36, 0.62, 1], [1, 0.6, 0.24]];
  paint(find("speaks"), at => {
    const share = Math.sqrt(Math.abs(values[at]) / most), grey = 0.22 * pixels[at] / 255;
    return (values[at] > 0 ? plus : minus).map(part => grey + (part - grey) * share);
  });
  find("spoken").textContent = `What speaks for ${place === null ? "it" : classes[place]}`;
  layers.slice(0, -1).forEach((layer, l) => {
    const canvas = find("hidden").querySelectorAll("canvas")[l];
    drawUnits(canvas, last ? last.steps[l + 1].values : new Float64Array(layer.units));
  });
}

/** Draw a cell for each unit, the stronger the farther from 0, in the colour of its sign. */
function drawUnits(canvas, activity) {
  const columns = Math.min(activity.length, activity.length <= 64 ? 32 : 64), cell = 16;
  canvas.width = columns * cell;
  canvas.height = Math.ceil(activity.length / columns) * cell;
  const context = canvas.getContext("2d");
  const most = activity.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
  activity.forEach((value, unit) => {
    const place = [unit % columns * cell, Math.floor(unit / columns) * cell, cell - 3, cell - 3];
    context.globalAlpha = 1;
    context.fillStyle = colour("--off");
    context.fillRect(...place);
    context.globalAlpha = Math.abs(value) / most;
    context.fillStyle = colour(value > 0 ? "--for" : "--against");
    context.fillRect(...place);
  });
}

function drawBars() {
  const shares = last ? last.probabilities : [];
  find("bars").querySelectorAll("button").forEach((bar, place) => {
    const share = shares[place], text = last ? `${(100 * share).toFixed(1)}%` : "–";
    bar.querySelector(".fill").style.width = last ? `${100 * share}%` : "0";
    bar.querySelector(".share").textContent = text;
    bar.classList.toggle("top", Boolean(last) && place === last.surest);
    bar.setAttribute("aria-pressed", place === chosen);
    bar.setAttribute("aria-label", `${classes[place]}: ${last ? text : "nothing drawn yet"}`);
  });
}

function show() {
  drawPad();
  drawBars();
  drawViews();
  find("prompt").hidden = strokes.length > 0;
  find("undo").disabled = !earlier.length && !strokes.length;
  find("clear").disabled = !strokes.length;
}

/** Read the drawing, and show what is read. */
function read() {
  waiting = false;
  const pixels = centred(ink(), PAD, PAD);
  last = null;
  if (pixels) {
    const steps = forward(layers, pixels), found = probabilities(steps);
    last = {pixels, steps, probabilities: found, surest: found.indexOf(Math.max(...found))};
  }
  show();
  clearTimeout(speaking);
  speaking = setTimeout(() => {
    find("answer").textContent = last
      ? `${classes[last.surest]}, ${Math.round(100 * last.probabilities[last.surest])} percent` : "";
  }, 700);
}

function readSoon() {
  if (!waiting) requestAnimationFrame(read);
  waiting = true;
}

// --- what is done

function begin(point) {
  earlier.push(strokes);
  pen = [point];
  strokes = [...strokes, pen];
  readSoon();
}

function move(point) {
  pen.push(point);
  readSoon();
}

function undo() {
  pen = null;
  strokes = earlier.pop() ?? [];
  readSoon();
}

function clear() {
  pen = null;
  if (strokes.length) earlier.push(strokes);
  strokes = [];
  readSoon();
}

function placeOf(event) {
  const box = pad.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * PAD, (event.clientY - box.top) / box.height * PAD];
}

let pointer = null; // of several fingers the first one draws
pad.addEventListener("pointerdown", event => {
  if (event.button !== 0 || pointer !== null) return;
  pointer = event.pointerId;
  shown = false;
  pad.setPointerCapture(pointer);
  begin(placeOf(event));
});
pad.addEventListener("pointermove", event => {
  if (event.pointerId !== pointer || !pen) return;
  const events = event.getCoalescedEvents?.() ?? []; // which Safari has since version 18
  for (const each of events.length ? events : [event]) move(placeOf(each));
});
for (const name of ["pointerup", "pointercancel"]) {
  pad.addEventListener(name, event => {
    if (event.pointerId === pointer) pointer = pen = null;
  });
}

const MOVES = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
pad.addEventListener("keydown", event => {
  const way = MOVES[event.key], step = event.shiftKey ? LEAP : STEP;
  if (event.altKey || (event.ctrlKey || event.metaKey) && event.key !== "z") return;
  if (way) {
    cursor = cursor.map((at, i) => Math.min(PAD, Math.max(0, at + step * way[i])));
    if (pen) move(cursor);
  } else if (event.key === " ") {
    if (pen) pen = null;
    else begin(cursor);
  } else if (event.key === "Backspace" || event.key === "z") undo();
  else if (event.key === "Delete") clear();
  else return;
  event.preventDefault();
  shown = true;
  readSoon();
});
pad.addEventListener("focus", () => {
  shown = pad.matches(":focus-visible");
  drawPad();
});
pad.addEventListener("blur", () => {
  shown = false;
  if (pointer === null) pen = null;
  drawPad();
});
find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", clear);

// --- what is there from the start

classes.forEach((name, place) => {
  const bar = document.createElement("button");
  bar.type = "button";
  for (const part of ["name", "track", "share"]) {
    bar.append(Object.assign(document.createElement("span"), {className: part}));
  }
  bar.firstChild.textContent = bar.title = name;
  bar.querySelector(".track").append(Object.assign(document.createElement("span"), {className: "fill"}));
  bar.addEventListener("click", () => {
    chosen = chosen === place ? null : place;
    show();
  });
  find("bars").append(bar);
});
find("bars").classList.toggle("names", classes.some(name => name.length > 3));
layers.slice(0, -1).forEach(({units, activation}, l) => {
  const block = document.createElement("div"), heading = document.createElement("h2");
  const text = `Hidden layer ${l + 1}: ${units} units, ${activation}`;
  heading.textContent = text;
  const canvas = document.createElement("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Activity of the units. ${text}`);
  block.append(heading, canvas);
  find("hidden").append(block);
});
find("hidden").hidden = layers.length < 2;
new ResizeObserver(() => {
  pad.width = pad.height = Math.round(pad.clientWidth * devicePixelRatio);
  drawPad();
}).observe(pad);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();

/** For tests and for those who look: outputs for 784 pixels from 0 to 255, and the centred drawing. */
window.fastnn = {
  predict: pixels => Array.from(forward(layers, pixels).at(-1).values),
  centred,
  contributions: (pixels, place) => Array.from(contributions(layers, forward(layers, pixels), score(place))),
};
