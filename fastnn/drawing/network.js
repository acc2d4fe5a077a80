// The network: from pixels to outputs, and back from a class to the pixels that speak for it.
const sigmoid = z => 1 / (1 + Math.exp(-z));
const softplus = z => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));
const ALPHA = 1.6732632423543772, SCALE = 1.0507009873554805, LEAK = 0.01;

/** Return the normal distribution function; Abramowitz and Stegun (1964), 7.1.26: error 1.5e-7. */
function normal(z) {
  const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  const tail = poly * Math.exp(-x * x) / 2;
  return z < 0 ? tail : 1 - tail;
}

/** The function and the slope of each activation of hidden layers. */
const ACTIVATIONS = {
  identity: [z => z, () => 1],
  sigmoid: [sigmoid, z => sigmoid(z) * sigmoid(-z)],
  tanh: [Math.tanh, z => 1 - Math.tanh(z) ** 2],
  relu: [z => Math.max(z, 0), z => z > 0 ? 1 : 0],
  leaky_relu: [z => z > 0 ? z : LEAK * z, z => z > 0 ? 1 : LEAK],
  elu: [z => z > 0 ? z : Math.expm1(z), z => z > 0 ? 1 : Math.exp(z)],
  selu: [z => SCALE * (z > 0 ? z : ALPHA * Math.expm1(z)), z => SCALE * (z > 0 ? 1 : ALPHA * Math.exp(z))],
  gelu: [z => z * normal(z), z => normal(z) + z * Math.exp(-z * z / 2) / Math.sqrt(2 * Math.PI)],
  silu: [z => z * sigmoid(z), z => sigmoid(z) * (1 + z * sigmoid(-z))],
  softplus: [softplus, sigmoid],
  mish: [
    z => z * Math.tanh(softplus(z)),
    z => { const t = Math.tanh(softplus(z)); return t + z * (1 - t * t) * sigmoid(z); },
  ],
};
ACTIVATIONS.swish = ACTIVATIONS.silu;

/** Return the bytes of a text in base64. */
const bytes = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);

/** Return a layer with its numbers: weights are whole ones times a number for each unit. */
function unpacked({inputs, units, activation, factors, weights, scales, biases}) {
  const [w, s, b, f] = [weights, scales, biases, factors ?? ""].map(bytes);
  const scale = Array.from({length: units}, (_, j) => s.getFloat32(4 * j, true));
  const list = (length, at) => Float32Array.from({length}, (_, i) => at(i));
  return {
    inputs, units, activation,
    factors: factors && list(inputs, i => f.getUint16(2 * i, true)),
    weights: list(inputs * units, i => w.getInt16(2 * i, true) * scale[i % units]),
    biases: list(units, j => b.getFloat32(4 * j, true)),
  };
}

/** Return the weighted inputs and the values of each layer for pixels from 0 to 255. */
function forward(layers, pixels) {
  const {factors} = layers[0];
  let values = Float64Array.from(pixels, (pixel, i) => pixel / 255 * (factors ? factors[i] : 1));
  const steps = [{values}];
  for (const {units, activation, weights, biases} of layers) {
    const sums = Float64Array.from(biases);
    values.forEach((value, i) => {
      if (value !== 0) for (let j = 0; j < units; j++) sums[j] += value * weights[i * units + j];
    });
    values = activation === "softmax" ? softmax(sums) : sums.map(ACTIVATIONS[activation][0]);
    steps.push({sums, values});
  }
  return steps;
}

function softmax(sums) {
  const most = Math.max(...sums), powers = sums.map(z => Math.exp(z - most));
  const total = powers.reduce((a, b) => a + b);
  return powers.map(power => power / total);
}

/** Return the gradient of a class's score with respect to the pixels, times the pixels. */
function contributions(layers, steps, ofScores) {
  let slopes = Float64Array.from(ofScores);
  for (let l = layers.length - 1; l >= 0; l--) {
    const {inputs, units, weights} = layers[l];
    const back = new Float64Array(inputs);
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < units; j++) back[i] += slopes[j] * weights[i * units + j];
    }
    if (l > 0) {
      const slope = ACTIVATIONS[layers[l - 1].activation][1];
      steps[l].sums.forEach((z, i) => { back[i] *= slope(z); });
    }
    slopes = back;
  }
  return slopes.map((slope, i) => slope * steps[0].values[i]);
}
