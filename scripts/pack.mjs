/**
 * Packs the core for the bundles that carry it: four tenths smaller than deflated at its best. crates/unpack is the other side, and says
 * what the format is.
 *
 * How the bytes are cut into literals and repetitions is free, so the cheapest way is looked for: the shortest path from the first
 * byte to the last, each step at the price that it had under the odds of the pass before. The prices settle after a few passes.
 */

import { Code } from "./code.mjs";

/**
 * What the prices do not know: that literals are cheaper under both of their odds than under the first alone, and that a new distance
 * spoils the odds of others. So literals are taken for cheaper, and new distances for some bits dearer (2 %, measured).
 */
const OF_LITERALS = 0.95;
const OF_DISTANCES = 2;
/** Passes after which nothing is gained any more (measured). */
const PASSES = 6;
/** How many earlier places with the same three bytes are looked at. */
const PLACES = 1000;
/** The longest repetition. */
const LONGEST = 1000;

// where the contexts of each kind of decision start, as in crates/unpack
const NUMBER = 704;
const IS_REPETITION = 0;
const IS_RECENT = 256;
const WHICH = 272;
const IS_LONG = 336;
const LENGTHS = 400;
const DISTANCES = LENGTHS + 2 * NUMBER;
const LITERALS = DISTANCES + 4 * NUMBER;
const NARROW = LITERALS + 128 * 0x300;
const CONTEXTS = 2 ** 18;

/** @typedef {(context: number, bit: number, wider?: number) => void} Coder what takes a decision, of a literal in a wider context as well */
/** @typedef {number[]} Recent the four distances that were used last, less 1 */
/**
 * What comes next: `kind` is -1 for a literal, 0 to 3 for a repetition over one of the recent distances, 4 for one over a new one.
 * @typedef {{ kind: number, length: number, distance: number }} Token
 */

/** @param {number} context @param {number} count @param {number} value @param {Coder} code */
function codeBits(context, count, value, code) {
  let seen = 1;
  for (let i = count - 1; i >= 0; i--) {
    const bit = (value >> i) & 1;
    code(context + seen, bit);
    seen = 2 * seen + bit;
  }
}

/** @param {number} context @param {number} n @param {Coder} code */
function codeNumber(context, n, code) {
  const high = 31 - Math.clz32(n);
  const size = n < 4 ? n : 2 * high + ((n >> (high - 1)) & 1);
  codeBits(context, 6, size, code);
  let seen = 1;
  for (let i = (size >> 1) - 2; i >= 0; i--) {
    const bit = (n >> i) & 1;
    code(context + 64 + 16 * size + (seen < 16 ? seen : 0), bit);
    seen = 2 * seen + bit;
  }
}

/**
 * Bytes, and what each is in an instruction of WebAssembly: of what kind, the context of a literal there, and where the wider contexts start.
 * @typedef {{ bytes: Uint8Array, kinds: Uint8Array, classes: Uint8Array, wider: Int32Array }} Source
 */

/** As in crates/unpack, which begins anew at each piece. @param {Uint8Array} bytes @param {number} start where the second piece begins @returns {Source} */
function readCode(bytes, start) {
  const [kinds, classes] = [new Uint8Array(bytes.length), new Uint8Array(bytes.length)];
  const wider = new Int32Array(bytes.length);
  let code = new Code();
  for (const [i, byte] of bytes.entries()) {
    if (i === start) code = new Code();
    [kinds[i], classes[i], wider[i]] = [code.kind, code.class, code.wider];
    code.pass(byte);
  }
  return { bytes, kinds, classes, wider };
}

/** @param {Source} source @param {number} i @param {number} state @param {Recent} recent @param {Coder} code */
function codeLiteral({ bytes, classes, wider }, i, state, recent, code) {
  const base = LITERALS + 0x300 * Number(classes[i]);
  const byte = /** @type {number} */ (bytes[i]);
  // after a repetition the byte that would have come next in it is a context until a bit differs
  let like = (state & 3) === 0 ? 0 : 0x100;
  let expected = bytes[i - /** @type {number} */ (recent[0]) - 1] ?? 0;
  let seen = 1;
  for (let k = 7; k >= 0; k--) {
    const bit = (byte >> k) & 1;
    expected <<= 1;
    code(base + like + (expected & like) + seen, bit, (Number(wider[i]) + seen) % CONTEXTS);
    like &= bit === 1 ? expected : ~expected;
    seen = 2 * seen + bit;
  }
}

/** @param {Source} source @param {number} i @param {number} state @param {Recent} recent @param {Token} token @param {Coder} code */
function codeToken(source, i, state, recent, { kind, length, distance }, code) {
  code(IS_REPETITION + 16 * Number(source.kinds[i]) + state, kind < 0 ? 0 : 1);
  if (kind < 0) {
    codeLiteral(source, i, state, recent, code);
  } else if (kind === 4) {
    code(IS_RECENT + state, 0);
    codeNumber(LENGTHS, length - 2, code);
    codeNumber(DISTANCES + NUMBER * Math.min(length - 2, 3), distance, code);
  } else {
    code(IS_RECENT + state, 1);
    codeBits(WHICH + 4 * state, 2, kind, code);
    code(IS_LONG + 4 * state + kind, length > 1 ? 1 : 0);
    if (length > 1) codeNumber(LENGTHS + NUMBER, length - 2, code);
  }
}

/** The state is of what kind the last two tokens were. @param {number} state @param {Token} token */
function stateAfter(state, { kind, length }) {
  return ((4 * state) & 15) | (kind < 0 ? 0 : kind === 4 ? 1 : length > 1 ? 2 : 3);
}

/** @param {Recent} recent @param {Token} token @returns {Recent} */
function recentAfter(recent, { kind, distance }) {
  if (kind < 0) return recent;
  return [
    kind === 4 ? distance : /** @type {number} */ (recent[kind]),
    ...recent.filter((_, k) => k !== Math.min(kind, 3)),
  ];
}

/** @param {Source} source @param {number} start @param {Token[]} tokens @param {Coder} code */
function codeAll(source, start, tokens, code) {
  let [i, state] = [start, 0];
  let recent = [0, 0, 0, 0];
  for (const token of tokens) {
    codeToken(source, i, state, recent, token, code);
    state = stateAfter(state, token);
    recent = recentAfter(recent, token);
    i += token.length;
  }
}

/** How long the bytes from two places on are the same. @param {Uint8Array} bytes @param {number} i @param {number} earlier */
function alike(bytes, i, earlier) {
  let length = 0;
  const most = Math.min(LONGEST, bytes.length - i);
  while (length < most && bytes[earlier + length] === bytes[i + length]) length++;
  return length;
}

/**
 * For each place the repetitions that are worth a look: of each length the nearest.
 * @param {Uint8Array} bytes @returns {[length: number, distance: number][][]}
 */
function repetitions(bytes) {
  const pairs = new Map();
  const triples = new Map();
  const before = new Int32Array(bytes.length);
  return Array.from(bytes, (_, i) => {
    /** @type {[number, number][]} */
    const found = [];
    const [a, b, c] = bytes.subarray(i, i + 3);
    let most = 0;
    /** @param {number | undefined} place */
    const look = (place) => {
      if (place === undefined || bytes[place + most] !== bytes[i + most]) return;
      const length = alike(bytes, i, place);
      if (length <= most) return;
      most = length;
      found.push([length, i - place - 1]);
    };
    const [pair, triple] = [`${a} ${b}`, `${a} ${b} ${c}`];
    if (b !== undefined) look(pairs.get(pair));
    let place = c === undefined ? -1 : (triples.get(triple) ?? -1);
    before[i] = place;
    pairs.set(pair, i);
    triples.set(triple, i);
    for (let n = 0; place >= 0 && n < PLACES; n++) {
      look(place);
      place = before[place] ?? -1;
    }
    return found;
  });
}

/**
 * The cheapest tokens under some prices, from a place on.
 * @param {Source} source @param {number} start @param {[length: number, distance: number][][]} found @param {[Float64Array, Float64Array]} prices of a 0 and of a 1
 * @returns {Token[]}
 */
function cheapest(source, start, found, prices) {
  const { bytes } = source;
  /** @param {(code: Coder) => void} decisions */
  const price = (decisions) => {
    let sum = 0;
    decisions((context, bit) => {
      sum += /** @type {number} */ (prices[/** @type {0 | 1} */ (bit)][context]);
    });
    return sum;
  };
  /** @param {number} context */
  const pricesAt = (context) =>
    Array.from({ length: LONGEST }, (_, n) => price((code) => codeNumber(context, n, code)));
  const [ofNew, ofRecent] = [pricesAt(LENGTHS), pricesAt(LENGTHS + NUMBER)];
  const costs = new Float64Array(bytes.length + 1).fill(Infinity);
  costs[start] = 0;
  /** @type {{ token: Token, state: number, recent: Recent }[]} */
  const ways = [];
  ways[start] = { token: { kind: -1, length: 0, distance: 0 }, state: 0, recent: [0, 0, 0, 0] };
  for (let i = start; i < bytes.length; i++) {
    const { state, recent } = /** @type {(typeof ways)[0]} */ (ways[i]);
    /** @param {number} kind @param {number} length @param {number} distance @param {number} cost */
    const offer = (kind, length, distance, cost) => {
      const total = /** @type {number} */ (costs[i]) + cost;
      if (total >= /** @type {number} */ (costs[i + length])) return;
      costs[i + length] = total;
      const token = { kind, length, distance };
      ways[i + length] = { token, state: stateAfter(state, token), recent: recentAfter(recent, token) };
    };
    /** @param {number} kind @param {number} length @param {number} distance */
    const whole = (kind, length, distance) =>
      price((code) => codeToken(source, i, state, recent, { kind, length, distance }, code));
    offer(-1, 1, 0, OF_LITERALS * whole(-1, 1, 0));
    for (let kind = 0; kind < 4; kind++) {
      const earlier = i - /** @type {number} */ (recent[kind]) - 1;
      const most = earlier < 0 ? 0 : alike(bytes, i, earlier);
      if (most === 0) continue;
      offer(kind, 1, 0, whole(kind, 1, 0));
      const base = whole(kind, 2, 0) - /** @type {number} */ (ofRecent[0]);
      for (let n = 2; n <= most; n++) offer(kind, n, 0, base + /** @type {number} */ (ofRecent[n - 2]));
    }
    let from = 2;
    for (const [most, distance] of found[i] ?? []) {
      let base = 0;
      for (let n = from; n <= most; n++) {
        // the distance's contexts depend on the length as far as 5
        const length = /** @type {number} */ (ofNew[n - 2]);
        if (n === from || n <= 5) base = whole(4, n, distance) - length + OF_DISTANCES;
        offer(4, n, distance, base + length);
      }
      from = most + 1;
    }
  }
  const tokens = [];
  for (let i = bytes.length; i > start; ) {
    const { token } = /** @type {(typeof ways)[0]} */ (ways[i]);
    tokens.push(token);
    i -= token.length;
  }
  return tokens.reverse();
}

// as in crates/unpack: the logarithms of odds, and back; how much an n-th bit moves the odds
const LOGARITHMS = new Int32Array(4096);
const MIXED = new Int32Array(4096);
for (let [n, place, at] = [0, -672811, 0]; n < 4096; n++) {
  LOGARITHMS[n] = place >> 8;
  place += Math.trunc(2 ** 30 / ((2 * n + 1) * (8191 - 2 * n)));
  for (; at < 4096 && at < (place >> 8) + 2048; at++) MIXED[at] = n;
}
const SHARES = Int32Array.from({ length: 64 }, (_, n) => Math.trunc(0x8000 / (n + 2)));

/** @param {number} odds @param {number} bit */
function learned(odds, bit) {
  const met = odds & 63;
  let [slow, fast] = [odds >> 16, (odds << 16) >> 22];
  slow += (((0x7fff ^ -bit) - slow) * Number(SHARES[met])) >> 15;
  fast += (((0x1ff ^ -bit) - fast) * Number(SHARES[Math.min(met, 2)])) >> 15;
  return (slow << 16) | ((fast & 1023) << 6) | Math.min(met + 1, 63);
}

/**
 * The odds of every context, and how they learn.
 * @returns {{ of(context: number, wider?: number): number, learn: Coder }} in 2^12ths of a 0
 */
function makeOdds() {
  const all = new Int32Array(CONTEXTS);
  /** @param {number} context */
  const fraction = (context) => {
    const odds = Number(all[context]);
    return 2048 + (((odds >> 16) + (((odds << 16) >> 22) << 6)) >> 5);
  };
  /** @param {number} context */
  const logarithm = (context) => Number(LOGARITHMS[fraction(context)]);
  return {
    of(context, wider) {
      if (wider === undefined) return Math.max(1, fraction(context));
      const sum = ((11 * logarithm(context) + 7 * logarithm(wider)) >> 4) + 2048;
      return Number(MIXED[Math.max(0, Math.min(4095, sum))]);
    },
    learn(context, bit, wider) {
      all[context] = learned(Number(all[context]), bit);
      if (wider !== undefined) all[wider] = learned(Number(all[wider]), bit);
    },
  };
}

/**
 * Bytes of tokens.
 * @param {Source} source @param {number} start @param {Token[]} tokens @param {Packed | undefined} before @returns {Uint8Array}
 */
function encoded(source, start, tokens, before) {
  const odds = makeOdds();
  if (before !== undefined) codeAll(source, 0, before.tokens, odds.learn);
  /** @type {number[]} */
  const out = [];
  let [low, range] = [0, 2 ** 32 - 1];
  const shift = () => {
    // what has run over goes to the bytes that are written
    for (let at = out.length - 1; low >= 2 ** 32; at--) {
      out[at] = (Number(out[at]) + 1) & 255;
      if (out[at] !== 0) low -= 2 ** 32;
    }
    out.push(Math.floor(low / 2 ** 24));
    low = (low % 2 ** 24) * 256;
  };
  codeAll(source, start, tokens, (context, bit, wider) => {
    while (range < 2 ** 24) {
      range *= 256;
      shift();
    }
    const bound = (range >>> 12) * odds.of(context, wider);
    low += bit * bound;
    range = bit === 1 ? range - bound : bound;
    odds.learn(context, bit, wider);
  });
  for (let i = 0; i < 4; i++) shift();
  return Uint8Array.from(out);
}

/** @typedef {{ packed: Uint8Array, bytes: Uint8Array, tokens: Token[] }} Packed what was packed, and how */

/** @param {Uint8Array} bytes @param {Packed} [before] what will have been unpacked by then, and is made use of @returns {Packed} */
export function pack(bytes, before) {
  const start = before?.bytes.length ?? 0;
  const all = Uint8Array.from([...(before?.bytes ?? []), ...bytes]);
  const source = readCode(all, start);
  const found = repetitions(all);
  const counts = [0, 1].map(() => new Float64Array(NARROW).fill(1));
  /** @type {Packed | undefined} */
  let best;
  for (let pass = 0; pass < PASSES; pass++) {
    const [zeros, ones] = /** @type {[Float64Array, Float64Array]} */ (counts);
    /** @param {Float64Array} of @param {Float64Array} others */
    const price = (of, others) =>
      of.map((n, k) => (n === others[k] ? 1 : -Math.log2(n / (n + Number(others[k])))));
    const tokens = cheapest(source, start, found, [price(zeros, ones), price(ones, zeros)]);
    for (const count of counts) count.fill(0.3);
    /** @type {Coder} */
    const count = (context, bit) => {
      const times = /** @type {Float64Array} */ (counts[bit]);
      times[context] = /** @type {number} */ (times[context]) + 1;
    };
    if (before !== undefined) codeAll(source, 0, before.tokens, count);
    codeAll(source, start, tokens, count);
    const packed = encoded(source, start, tokens, before);
    if (best === undefined || packed.length < best.packed.length) best = { packed, bytes, tokens };
  }
  return /** @type {Packed} */ (best);
}

/** The middle of the unpacker's buffer, as in crates/unpack. */
export const MIDDLE = 2 ** 18;

/**
 * What the unpacker, `module`, makes of pieces that were packed one after the other, as ts/runtime/unpack.ts does it: the bytes of the last,
 * and the module that `restore` makes of them.
 *
 * @param {Uint8Array} module @param {{ packed: Uint8Array, bytes: Uint8Array }[]} pieces
 */
export function unpacked(module, pieces) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.from(module)));
  const { memory, begin, unpack, restore } = /** @type {any} */ (exports);
  const start = begin();
  let [from, to] = [0, 0];
  for (const { packed, bytes } of pieces) {
    [from, to] = [to, to + bytes.length];
    if (Math.max(to, packed.length) > MIDDLE) throw new Error("A piece is too long for the unpacker.");
    new Uint8Array(memory.buffer).set(packed, start + MIDDLE);
    unpack(from, to);
  }
  return {
    bytes: new Uint8Array(memory.buffer).slice(start + from, start + to),
    restored: () => new Uint8Array(memory.buffer, start + MIDDLE, restore(from, to)),
  };
}
