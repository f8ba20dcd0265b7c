/**
 * The code of WebAssembly, byte by byte, as crates/unpack reads it; its constants before loops, and its locals as ranks.
 *
 * The same lines, inlined into two functions, differ in the locals that they use. So before it is packed each local is written as its
 * class and how many others of that were used since its last use: the same lines are the same bytes then, wherever they stand (7 % of
 * the packed core, measured). The lengths of functions, which differ as well, are left out (1 %). crates/unpack puts both back, and
 * constants before loops: packed as they are there they would be 6 % more (measured).
 */

/**
 * What comes after an opcode: its kind, and how many bytes a constant has; as in crates/unpack.
 *
 * @param {number} opcode @returns {[kind: number, left: number]}
 */
function operand(opcode) {
  /** @param {number} from @param {number} to */
  const within = (from, to) => opcode >= from && opcode <= to;
  if (within(0x20, 0x22)) return [opcode - 24, 0];
  if (within(2, 4) || within(0x0c, 0x0d) || within(0x10, 0x11)) return [3, 0];
  if (within(0x23, 0x24) || within(0x3f, 0x42) || opcode === 0xfc) return [3, 0];
  if (opcode === 0x0e) return [7, 0];
  if (within(0x28, 0x3e) || within(0x100, 0x10b) || within(0x154, 0x15d)) return [1, 0];
  if (opcode === 0x43) return [4, 4];
  if (opcode === 0x44) return [4, 8];
  if (within(0x10c, 0x10d)) return [4, 16];
  if (within(0x115, 0x122)) return [4, 1];
  return [opcode >= 0x180 ? 6 : 0, 0];
}

/** What of an instruction comes next, as in crates/unpack, which says what the kinds are. */
export class Code {
  kind = 0;
  opcode = 0;
  /** The last three opcodes, of 9 bits each. */
  past = 0;
  index = 0;
  left = 0;

  /** The context of a literal, from 0 to 127. */
  get class() {
    return this.kind === 0 ? 64 + (this.opcode % 64) : 4 * this.kind + Math.min(this.index, 3);
  }

  /** Where the contexts start that know the opcodes before as well: behind the others. */
  get wider() {
    const opcodes = this.past & (this.kind === 0 ? 0x3ffff : this.kind < 8 ? 0x1ff : 0x7ffffff);
    return 2 ** 17 + (Math.imul(Math.imul(opcodes, 0x9e3779b1) + this.class, 0x9e3779b1) >>> 15);
  }

  /** A byte has come. @param {number} byte */
  pass(byte) {
    this.index++;
    if (this.kind === 0 && byte === 0xfd) this.kind = 5;
    else if (this.kind === 0 || this.kind === 5) {
      this.opcode = byte + (this.kind === 5 ? 256 : 0);
      this.past = (this.past << 9) | this.opcode;
      this.index = 0;
      [this.kind, this.left] = operand(this.opcode);
    } else if (this.kind === 1) this.kind = 2;
    else if (this.kind === 7) [this.kind, this.left] = [4, byte + 1];
    else if (this.kind === 4) {
      this.left--;
      if (this.left === 0) this.kind = 0;
    } else if (byte < 128) {
      const lane = this.kind === 2 && this.opcode >= 0x154 && this.opcode <= 0x15b;
      [this.kind, this.left] = lane ? [4, 1] : [0, 0];
    }
  }
}

/** The opcode of a constant of 16 bytes. */
const CONSTANT = 0x10c;

/** Instructions that the core has none of, and whose operands are not told: tail calls, tables, references, atomics. */
const UNKNOWN = new Set([0x12, 0x13, 0x14, 0x15, 0x1c, 0x25, 0x26, 0xd0, 0xd1, 0xd2, 0xfe]);

/** A number of LEB128 and where it ends. @param {Uint8Array} bytes @param {number} at @returns {[number: number, end: number]} */
export function numberAt(bytes, at) {
  const byte = Number(bytes[at]);
  if (byte < 128) return [byte, at + 1];
  const [rest, end] = numberAt(bytes, at + 1);
  return [byte - 128 + 128 * rest, end];
}

/** @param {number} n @returns {number[]} */
function asNumber(n) {
  return n < 128 ? [n] : [128 + (n % 128), ...asNumber(Math.floor(n / 128))];
}

/** The class of a local: a function of one precision has the same ones as its twin of the other. As in crates/unpack. @param {number} type */
function classOf(type) {
  const of = [0, 1, 1, 3, 2][type - 0x7b];
  if (of === undefined) throw new Error("A local is no number.");
  return of;
}

/**
 * What becomes of a function: its locals' types in their order, and each local where it is used.
 * @typedef {{ declared: number[], local: (index: number) => number }} Change
 */

/**
 * A module with its functions written otherwise.
 * @param {Uint8Array} bytes @param {boolean} lengths whether the lengths of functions are written
 * @param {(body: Uint8Array, params: number[]) => number[]} functionOf of a function and the types of its parameters
 */
function rewritten(bytes, lengths, functionOf) {
  /** @type {number[][]} */
  const types = [];
  /** @type {number[]} */
  const functions = [];
  /** @type {Uint8Array[]} */
  const out = [bytes.subarray(0, 8)];
  for (let at = 8; at < bytes.length; ) {
    const id = Number(bytes[at]);
    const [length, start] = numberAt(bytes, at + 1);
    const end = start + length;
    let [count, place] = numberAt(bytes, start);
    if (id === 10) {
      const code = [asNumber(count)];
      // without the lengths of functions the section's own is the one that it will have
      let unpacked = Number(code[0]?.length);
      for (; count > 0; count--) {
        const [size, body] = numberAt(bytes, place);
        const params = /** @type {number[]} */ (types[Number(functions.shift())]);
        const own = bytes.subarray(body, body + size);
        const made = functionOf(own, params);
        code.push(lengths ? asNumber(made.length) : [], made);
        const whole = lengths ? [] : withConstantsFirst(own, params);
        unpacked += asNumber(whole.length).length + whole.length;
        place = body + size;
      }
      const all = Uint8Array.from(code.flat());
      out.push(Uint8Array.from([id, ...asNumber(lengths ? all.length : unpacked)]), all);
    } else {
      if (id === 1 && count > 127) throw new Error("The types are too many for one byte.");
      for (; id === 1 && count > 0; count--) {
        const params = place + 2;
        const results = params + Number(bytes[place + 1]);
        if (Number(bytes[place + 1]) > 127 || Number(bytes[results]) > 127)
          throw new Error("A type is too long.");
        types.push([...bytes.subarray(params, results)]);
        place = results + 1 + Number(bytes[results]);
      }
      for (; id === 3 && count > 0; count--) functions.push(Number(bytes[place++]));
      out.push(bytes.subarray(at, end));
    }
    at = end;
  }
  return new Uint8Array(Buffer.concat(out));
}

/** The types of a function's locals, and where its instructions start. @param {Uint8Array} body @param {number[]} params @returns {[types: number[], at: number]} */
export function localsOf(body, params) {
  const types = [...params];
  let [groups, at] = numberAt(body, 0);
  for (; groups > 0; groups--) {
    const [count, place] = numberAt(body, at);
    types.push(...Array(count).fill(Number(body[place])));
    at = place + 1;
  }
  return [types, at];
}

/**
 * A function with its locals written otherwise.
 * @param {Uint8Array} body @param {number[]} params
 * @param {(types: number[], params: number, used: number[]) => Change} changeOf of its locals' types, and the locals as they are used
 */
function withLocals(body, params, changeOf) {
  const [types, at] = localsOf(body, params);
  if (types.length >= 4096) throw new Error("The locals are too many.");
  /** @type {number[]} */
  const used = [];
  const read = (/** @type {(index: number) => number} */ local) => {
    /** @type {number[]} */
    const out = [];
    const code = new Code();
    let depth = 1;
    for (let i = at; i < body.length; ) {
      const byte = Number(body[i]);
      if (code.kind >= 8) {
        const [index, end] = numberAt(body, i);
        out.push(...asNumber(local(index)));
        code.kind = 0;
        i = end;
        continue;
      }
      if (code.kind === 0 && UNKNOWN.has(byte)) throw new Error(`Instruction ${byte} is not understood.`);
      if (code.kind === 7 && byte > 127) throw new Error("A branch has too many labels.");
      if (code.kind === 0) depth += byte >= 2 && byte <= 4 ? 1 : byte === 0x0b ? -1 : 0;
      if (depth === 0 && i < body.length - 1) throw new Error("A function ends before its end.");
      code.pass(byte);
      out.push(byte);
      i++;
    }
    if (depth > 0) throw new Error("A function has no end.");
    return out;
  };
  read((index) => used.push(index));
  const { declared, local } = changeOf(types, params.length, used);
  /** @type {[count: number, type: number][]} */
  const runs = [];
  for (const type of declared.slice(params.length)) {
    const last = runs.at(-1);
    if (last?.[1] === type) last[0]++;
    else runs.push([1, type]);
  }
  if (runs.length > 126) throw new Error("The runs of locals are too many for one byte.");
  return [runs.length, ...runs.flatMap(([count, type]) => [...asNumber(count), type]), ...read(local)];
}

/** A function whose constants stand before its loops, as crates/unpack writes it. @param {Uint8Array} body @param {number[]} params */
function withConstantsFirst(body, params) {
  const [{ length: plain }, at] = localsOf(body, params);
  const [groups, ...declared] = body.subarray(0, at);
  let locals = plain;
  const twoBytes = (/** @type {number} */ n) => [128 + (n % 128), Math.floor(n / 128)];
  /** @type {number[]} */
  const out = [];
  /** @type {{ start: number }[]} for each open block the innermost loop that it is in, which starts somewhere */
  const loops = [{ start: -1 }];
  const code = new Code();
  for (const byte of body.subarray(at)) {
    const isOpcode = code.kind === 0;
    const loop = /** @type {{ start: number }} */ (loops.at(-1));
    if (isOpcode && byte >= 2 && byte <= 4) loops.push(byte === 3 ? { start: out.length } : loop);
    if (isOpcode && byte === 0x0b) loops.pop();
    code.pass(byte);
    out.push(byte);
    if (!isOpcode && code.kind === 0 && code.opcode === CONSTANT && byte !== 0 && loop.start >= 0) {
      const constant = out.splice(-18);
      out.splice(loop.start, 0, ...constant, 0x21, ...twoBytes(locals));
      out.push(0x20, ...twoBytes(locals));
      loop.start += 21;
      locals++;
    }
  }
  if (locals > 2 ** 14) throw new Error("The locals are too many for two bytes.");
  return [Number(groups) + 1, ...declared, ...twoBytes(locals - plain), 0x7b, ...out];
}

/**
 * A module whose constants of 16 bytes stand before the innermost loop that they are in, and locals in their places. From version 13 on
 * V8 leaves such a constant where it stands and makes it anew in each round, by three instructions; compilers put it where it is used.
 * What takes exponentials needs half of the time so on Node 24 to 26, and the same on Node 20 (measured). Zeros are quickly made and stay;
 * what else ends in a byte of zeros, one constant in thirty, stays with them. A constant that stands twice in a loop has two locals,
 * which V8 takes for one.
 * @param {Uint8Array} bytes
 */
export function constantsFirst(bytes) {
  return rewritten(bytes, true, withConstantsFirst);
}

/** @param {Uint8Array} bytes @param {boolean} lengths @param {Parameters<typeof withLocals>[2]} changeOf */
function withLocalsOf(bytes, lengths, changeOf) {
  return rewritten(bytes, lengths, (body, params) => withLocals(body, params, changeOf));
}

/** A module whose locals stand, in each class, in the order in which they are used first: only such a one can be packed. @param {Uint8Array} bytes */
export function inOrderOfUse(bytes) {
  return withLocalsOf(bytes, true, (types, params, used) => {
    const classes = types.map(classOf);
    const byUse = [...new Set([...used, ...types.keys()])].filter((local) => local >= params);
    const order = [
      ...[...types.keys()].slice(0, params),
      ...[0, 1, 2, 3].flatMap((of) => byUse.filter((local) => classes[local] === of)),
    ];
    const place = new Map(order.map((local, i) => [local, i]));
    return {
      declared: order.map((local) => Number(types[local])),
      local: (index) => Number(place.get(index)),
    };
  });
}

/** A module as it is packed. @param {Uint8Array} bytes */
export function ranked(bytes) {
  return withLocalsOf(bytes, false, (types, params) => {
    const classes = types.map(classOf);
    /** @type {number[][]} the locals of each class, the one used last first */
    const lists = [[], [], [], []];
    const next = [params, params, params, params];
    for (let i = 0; i < params; i++) lists[Number(classes[i])]?.push(i);
    return {
      declared: types,
      local(index) {
        const of = Number(classes[index]);
        const list = /** @type {number[]} */ (lists[of]);
        const rank = list.indexOf(index) + 1;
        if (rank > 0) list.splice(rank - 1, 1);
        else {
          next[of] = classes.indexOf(of, next[of]) + 1;
          if (next[of] !== index + 1) throw new Error("A local is used before one that stands before it.");
        }
        list.unshift(index);
        return rank < 32 ? 32 * of + rank : 4 * rank + of;
      },
    };
  });
}
