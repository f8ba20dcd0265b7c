/**
 * What every platform runs: gradients of numbers that are the same everywhere, told by their bits. Its text goes into the programs,
 * so it uses nothing from around it.
 *
 * @param {any} perdida the library, whatever of it there is
 * @returns {import("./program.js").Answer}
 */
function compute(perdida) {
  // numbers by whole-number arithmetic alone, which no platform does in another way
  let state = 1;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 4294967296;
  };
  const numbers = (/** @type {number[]} */ ...shape) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++) data[i] = 8 * random() - 4;
    return { data, shape };
  };
  const labels = (/** @type {number} */ length, /** @type {number} */ classes) => {
    const data = new Int32Array(length);
    for (let i = 0; i < length; i++) data[i] = 1 + Math.floor(random() * (classes - 1));
    return data;
  };
  const hex = (/** @type {Uint32Array} */ words) =>
    Array.from(words, (word) => word.toString(16).padStart(8, "0")).join("");
  const hash = (/** @type {Float32Array} */ data) => {
    let sum = 2166136261;
    for (const byte of new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      sum = Math.imul(sum ^ byte, 16777619);
    return hex(Uint32Array.of(sum));
  };
  /** @type {Record<string, string>} */
  const bits = {};
  const add = (/** @type {string} */ name, /** @type {(f: any) => any} */ call) => {
    const f = perdida[name];
    if (f === undefined) return;
    const { value, grads } = call(f);
    const words = new Uint32Array(Float64Array.of(value).buffer);
    bits[name] = [hex(words), ...Object.keys(grads).map((grad) => hash(grads[grad].data))].join(" ");
  };
  add("crossEntropyLoss", (f) => f.valueAndGrad(numbers(7, 37), labels(7, 37)));
  add("ctcLoss", (f) => {
    const targets = [5, 9, 0].map((length) => Array.from(labels(length, 11)));
    return f.valueAndGrad(numbers(3, 41, 11), targets, { reduction: "sum" });
  });
  add("tripletMarginLoss", (f) => f.valueAndGrad(numbers(9, 21), numbers(9, 21), numbers(9, 21)));
  add("bceWithLogitsLoss", (f) =>
    f.valueAndGrad(numbers(67), { data: new Float32Array(67).fill(0.25), shape: [67] }),
  );
  const { name, reason } = perdida.engine();
  return { engine: name, reason, bits };
}

export { compute };
