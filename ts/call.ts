/**
 * One call of one loss: its arguments read and checked, and the arrays that a kernel or a reference takes (slots), in the order of the
 * door's arguments. What an engine needs is all here; which engine answers is not known yet.
 */
import { addressOf, lodgedData } from "#engine";
import {
  arrayOf,
  checkChoice,
  describe,
  fail,
  isRecord,
  shapeText,
  wrongShape,
  wrongType,
} from "./errors.js";
import {
  broadcastShape,
  broadcastStrides,
  checkBuffer,
  checkInUse,
  floats,
  isTyped,
  type Operand,
  placeOf,
  readOperand,
  readOutput,
  sameShape,
  sizeOf,
  walk,
  wrongBuffer,
} from "./input.js";
import {
  COMMON,
  type Common,
  defaultsOf,
  numberOf,
  type OptionTable,
  type OptionValues,
  readOptions,
  unknown,
} from "./options.js";
import type { DType, FloatArray, TypedArray } from "./types.js";

/** The options of a call, read: each loss knows the types of its own. */
export type Options = OptionValues<OptionTable>;

/** One input of a loss. */
export interface InputRow {
  readonly name: string;
  /** Whether there is a gradient with respect to it. */
  readonly differentiable?: boolean;
  /** Whether the family reads it itself, because its form is not a tensor's (ragged targets). */
  readonly raw?: boolean;
  /** Whether it may be left out. */
  readonly optional?: boolean;
  /**
   * Whether it holds labels, which are as exact in one precision as in the other and so do not choose it; `"fewer axes"`: when
   * it has fewer axes than the first input.
   */
  readonly labels?: boolean | "fewer axes";
  /** How it is read, where it has forms of its own beside a tensor's. */
  readonly read?: (where: string, name: string, value: unknown) => Operand;
}

/** What a slot holds: numbers in the precision of the call, doubles in either, integers, or room without any. */
type Kind = "real" | "double" | "int" | "bytes";

/** The address of an array that is not in the core's memory for certain: the library has just made it. */
export const OUTSIDE = -1;
/** The place of an array that the kernel does not see. */
export const NOWHERE = -1;

/** The shape that an input is broadcast to, and how the input is walked, for each element of it. */
interface Wide {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

/** An array of a call. */
export interface Slot {
  readonly kind: Kind;
  /** The user's array or one of ours; viewed anew when it lives in the core's memory and that grows. */
  array: TypedArray | undefined;
  /** How many numbers the array has. */
  readonly count: number;
  readonly out: boolean;
  /** Where the array is in the core's memory, if that is known; 0: it is to be asked. */
  readonly address: number;
  /** Its place among the kernel's arguments. */
  readonly place: number;
  /** Of an input that is broadcast. */
  readonly wide: Wide | undefined;
  /** How many numbers the kernel sees. */
  readonly length: number;
}

/** A gradient that was asked for: the slot that the kernel writes, and the one where it ends up. */
export interface Gradient {
  readonly name: string;
  readonly shape: readonly number[];
  /** What the user gave to write into. */
  readonly given: unknown;
  readonly slot: Slot;
  readonly end: Slot;
  /** Of an input that was broadcast: the slot has this shape, and is added up. */
  readonly wide: Wide | undefined;
}

/** What a loss, or a function that is none, says of its arguments. */
export interface Declaration {
  readonly name: string;
  readonly inputs: readonly InputRow[];
  readonly options?: OptionTable;
  /**
   * The names of the options that the kernel and the reference take as numbers, in their order, where those are not all that have a value
   * when none is given. An option that the loss does not have is 0 there.
   */
  readonly parameters?: readonly string[];
  /** The reductions beside none, mean and sum. */
  readonly reductions?: readonly string[];
  /** The value is a tensor, and is not reduced. */
  readonly mapping?: boolean;
  /** A mapping that has no gradients: of the common options it takes those that it names itself. */
  readonly plain?: boolean;
}

/**
 * What follows from a declaration and is needed at every call: worked out once. Whatever losses say of themselves, their records here are
 * of one kind: so a call costs no more in a program that uses many of them.
 */
export class Signature {
  readonly name: string;
  readonly inputs: readonly Required<InputRow>[];
  readonly table: OptionTable;
  readonly defaults: Options;
  /** What the kernel takes where no option is given. */
  readonly usual: readonly number[];
  readonly reductions: readonly string[];
  readonly mapping: boolean;
  /** The names of the inputs that there are gradients of. */
  readonly differentiable: readonly string[];
  private readonly names: readonly string[];

  constructor(
    { name, inputs, options = {}, parameters, reductions = [], mapping = false, plain = false }: Declaration,
    /** The kernel's number in its family. */
    readonly op: number,
  ) {
    const { reduction, ...others } = COMMON;
    this.name = name;
    this.inputs = inputs.map((row) => ({
      ...{ differentiable: false, raw: false, optional: false, labels: false, read: readOperand },
      ...row,
    }));
    this.table = { ...(plain ? undefined : mapping ? others : COMMON), ...options };
    this.defaults = defaultsOf(options);
    this.names = parameters ?? Object.keys(options).filter((name) => this.defaults[name] !== undefined);
    this.usual = this.numbers(this.defaults);
    this.reductions = ["none", "mean", "sum", ...reductions];
    this.mapping = mapping;
    this.differentiable = this.inputs.filter((row) => row.differentiable).map((row) => row.name);
  }

  /** What the kernel takes, of these options. */
  numbers(options: Options): readonly number[] {
    return this.names.map((name) => numberOf(this.table[name], options[name]));
  }
}

/** No numbers, without making an array for it. */
const NONE: readonly number[] = [];
export const NOTHING_WANTED: readonly string[] = [];
/** The outputs that the user gave. */
interface Given {
  readonly value: unknown;
  readonly grads: Readonly<Record<string, unknown>> | undefined;
}
const NOTHING_GIVEN: Given = { value: undefined, grads: undefined };

/** How the losses of a family run on the core; there is no such thing where there is no core. */
export interface Door<P> {
  /** The kernels' numbers, by the names of the losses. */
  readonly numbers: { readonly [name: string]: number };
  /** Runs a call, and gives the sum of the losses; undefined where the core does not answer. */
  run(call: Call, plan: P): number | undefined;
}

/** One call of one loss: its arguments after reading, and what the family makes of them. */
export class Call {
  readonly inputs: readonly (Operand | undefined)[];
  readonly options: Options;
  readonly parameters: readonly number[];
  readonly dtype: DType;
  readonly reduction: string;
  /** What multiplies every gradient: the upstream number, over the divisor. */
  scale: number;
  /** What a mean divides by. */
  divisor: number;
  /** The shape of the single losses. */
  lossShape: readonly number[];
  /** Set by a family whose plan has computed the results already, in TypeScript: the core is passed by. */
  planned: boolean;
  /** What comes back beside the value and the gradients. */
  extras: object | undefined;

  /** @internal The arrays. */
  readonly slots: Slot[];
  /** @internal How many arrays of the kernel's have been named. */
  places: number;
  /** @internal */ readonly grads: Gradient[];
  /** @internal The single losses; where they are reduced, what the user gave for the result. */
  values: Slot | undefined;
  /** @internal What the numbers of one slot must be. */
  domain: Domain | undefined;
  /** @internal */ checked: Slot | undefined;
  /** @internal */ readonly wrt: readonly string[] | undefined;
  /** @internal */ readonly out: Given;
  private readonly upstream: Operand | number;

  /** @internal */
  constructor(
    private readonly signature: Signature,
    readonly raw: readonly unknown[],
    /** Whether gradients are asked for at all. */
    readonly gradients: boolean,
  ) {
    const { name, inputs, mapping, differentiable, defaults } = signature;
    const most = inputs.length;
    let count = Math.min(raw.length, most);
    // an optional last input may be left out with the options in its place
    const { optional } = inputs[most - 1] as Required<InputRow>;
    const last = raw[most - 1];
    if (optional && count === most && isRecord(last) && !("data" in last)) count -= 1;
    const least = optional ? most - 1 : most;
    if (count < least || raw.length > count + 1) {
      const names = inputs.map((input) => input.name).join(", ");
      fail(
        "ARGUMENT_COUNT",
        name,
        "the number of arguments",
        String(raw.length),
        `${least} (${names}) and the options`,
      );
    }
    const operands = new Array<Operand | undefined>(most);
    let dtype: DType | undefined;
    for (let i = 0; i < most; i++) {
      const row = inputs[i] as Required<InputRow>;
      const given = raw[i];
      if (row.raw || i >= count || (row.optional && given === undefined)) continue;
      const operand = row.read(name, row.name, given);
      operands[i] = operand;
      const { labels } = row;
      const fewer = labels === "fewer axes" && operand.shape.length < (operands[0] as Operand).shape.length;
      if (labels === true || fewer) continue;
      if (operand.precision === "float64") dtype = "float64";
      else if (operand.precision === "float32") dtype ??= "float32";
    }
    const common: Common = { reduction: "mean", upstream: 1, wrt: undefined, out: undefined };
    this.inputs = operands;
    const options = raw[count];
    this.options =
      options === undefined ? defaults : readOptions(name, signature.table, options, defaults, common);
    this.dtype = dtype ?? "float64";
    const { reduction, upstream, wrt, out } = common;
    if (!mapping && reduction !== "mean") checkChoice(name, "reduction", reduction, signature.reductions);
    this.reduction = mapping ? "none" : (reduction as string);
    this.upstream = typeof upstream === "number" ? upstream : readOperand(name, "upstream", upstream);
    if (gradients && wrt !== undefined && !Array.isArray(wrt))
      wrongType(name, "wrt", wrt, `an array of names from ${differentiable.join(", ")}`);
    // a copy, as of shapes: reading it again would run code of the caller's
    const names = wrt as readonly string[] | undefined;
    this.wrt = gradients ? names && [...names] : NOTHING_WANTED;
    this.out = out === undefined ? NOTHING_GIVEN : readOut(name, differentiable, out);
    this.parameters = this.options === defaults ? signature.usual : signature.numbers(this.options);
    this.scale = 1;
    this.divisor = 1;
    this.lossShape = NONE;
    this.planned = false;
    this.extras = undefined;
    this.slots = [];
    this.places = 0;
    this.grads = [];
    this.values = undefined;
    this.domain = undefined;
    this.checked = undefined;
  }

  /** The name that errors begin with. */
  get where(): string {
    return this.signature.name;
  }

  /** The kernel's number in its family. */
  get op(): number {
    return this.signature.op;
  }

  /** The i-th input, which is there. */
  input(i: number): Operand {
    return this.inputs[i] as Operand;
  }

  /** Whether a gradient with respect to this input is asked for. */
  wants(name: string): boolean {
    return this.wrt === undefined || this.wrt.includes(name);
  }

  /**
   * An input, in the precision of the call, broadcast to a shape that it is known to fit ({@link broadcastStrides}); `own` is its shape with
   * the axes of length 1 that this needs where they are not at the front. Without one the slot holds nothing.
   */
  take(operand?: Operand, shape?: readonly number[], own?: readonly number[]): Slot | undefined {
    if (operand === undefined) {
      this.places++;
      return undefined;
    }
    const shaped = own ?? operand.shape;
    const wide = wideOf(shaped, shape);
    return this.push("real", operand.data, sizeOf(shaped), false, operand.address ?? 0, this.places++, wide);
  }

  /** Says how the losses lie, and of how many a mean is that of. */
  losses(shape: readonly number[], count = sizeOf(shape)): void {
    this.lossShape = shape;
    if (this.reduction === "mean") this.divisor = count;
  }

  /** An array of the library's, or labels that were checked; with `out` the kernel writes to it. */
  own(data: FloatArray | Int32Array | undefined, out = false): void {
    if (data === undefined) {
      this.places++;
      return;
    }
    const isInt = data instanceof Int32Array;
    const isDouble = data.BYTES_PER_ELEMENT === 8 && this.dtype === "float32";
    const kind = isInt ? "int" : isDouble ? "double" : "real";
    this.push(kind, data, data.length, out, isInt && !out ? 0 : OUTSIDE, this.places++);
  }

  /** The single losses, where they are asked for; `lossShape` is set. A kernel may have them as doubles in either precision. */
  valueSlot(kind: "real" | "double" = "real"): void {
    const { value } = this.out;
    if (this.reduction === "none") this.values = this.output("value", value, sizeOf(this.lossShape), kind);
    else {
      // it is returned, and written as well where it is to be
      if (value !== undefined) this.values = this.output("value", value, 1, "real", NOWHERE);
      this.places++;
    }
  }

  /** The gradient with respect to the i-th input, if there is one, broadcast as {@link take} does it. */
  gradientSlot(i: number, shape?: readonly number[], own?: readonly number[]): void {
    const operand = i < this.inputs.length ? this.inputs[i] : undefined;
    if (
      operand === undefined ||
      this.signature.inputs[i]?.differentiable !== true ||
      !this.wants(operand.name)
    ) {
      this.places++;
      return;
    }
    const { name } = operand;
    // not that of its data: a family that called the user's code may have had the core's memory grow, and views detached
    const length = sizeOf(operand.shape);
    const given = this.out.grads?.[name];
    const wide = wideOf(own ?? operand.shape, shape);
    // broadcast, the kernel writes one gradient per element of the shape; they are added up afterwards
    const end = this.output(name, given, length, "real", wide && NOWHERE);
    const slot = wide === undefined ? end : this.output(name, undefined, sizeOf(wide.shape));
    this.grads.push({ name, shape: operand.shape, given, slot, end, wide });
  }

  /** The upstream gradient: an array where there is one number per loss; a single number goes into `scale`. */
  upstreamSlot(): void {
    const upstream = this.readUpstream();
    this.scale = 1 / this.divisor;
    if (typeof upstream === "number") {
      this.scale *= upstream;
      this.places++;
    } else this.take(upstream);
  }

  /** Multiplies the weight of each loss by its upstream gradient, for families that weight each loss in a mean themselves. */
  upstreamPerLoss(weights: Float64Array): void {
    const upstream = this.readUpstream();
    for (let i = 0; i < weights.length; i++) {
      const up = typeof upstream === "number" ? upstream : Number(upstream.data[i]);
      weights[i] = up * (weights[i] as number);
    }
  }

  /** The upstream gradient as one number for all, or as an array of one per loss; `lossShape` is set. */
  private readUpstream(): Operand | number {
    const { upstream, lossShape, where } = this;
    if (typeof upstream === "number") return upstream;
    const { shape } = upstream;
    const data = numbersOf(where, upstream);
    const single = this.reduction !== "none";
    if (shape.length === 0 || (single && data.length === 1)) return Number(data[0]);
    if (single) wrongShape(where, upstream, `a number with reduction ${describe(this.reduction)}`);
    if (!sameShape(shape, lossShape) && !(shape.length === 1 && data.length === sizeOf(lossShape)))
      wrongShape(where, upstream, `a number or ${shapeText(lossShape)}`);
    return upstream;
  }

  /** A new array in the precision of the call. */
  fresh(length: number): FloatArray {
    return floats(this.where, this.dtype, length);
  }

  /** What is written to: what was given, or a new array. `name` is `"value"` or that of an input. */
  private output(
    name: string,
    given: unknown,
    count: number,
    kind: Kind = "real",
    place = this.places++,
  ): Slot {
    const isNew = given === undefined;
    const address = isNew ? OUTSIDE : (addressOf(given) ?? 0);
    const array = isNew
      ? this.fresh(count)
      : (lodgedData(given, address, count) ?? readOutput(this.where, name, given, count));
    return this.push(kind, array, count, true, address, place);
  }

  /** @internal Names an array. */
  push(
    kind: Kind,
    array: TypedArray | undefined,
    count: number,
    out: boolean,
    address: number,
    place: number,
    wide?: Wide,
  ): Slot {
    const length = wide === undefined ? count : sizeOf(wide.shape);
    const slot: Slot = { kind, array, count, out, address, place, wide, length };
    this.slots.push(slot);
    return slot;
  }
}

/** How an array is broadcast, if its shape is not what it is to have. */
function wideOf(own: readonly number[], shape: readonly number[] = own): Wide | undefined {
  return sameShape(own, shape) ? undefined : { shape, strides: broadcastStrides(own, shape) as number[] };
}

/** What the caller gave to write into that is no array and no tensor of ours: what it has was asked for. */
export class Asked {
  readonly data: unknown;
  /** Itself, if it is a tensor. */
  readonly tensor: unknown;
  constructor(given: object) {
    this.data = (given as { data?: unknown }).data;
    this.tensor = "shape" in given ? given : undefined;
  }
}

/** An output that runs none of the caller's code any more. */
function asked(where: string, name: string, given: unknown): unknown {
  const isOther =
    typeof given === "object" && given !== null && addressOf(given) === undefined && !isTyped(given);
  if (!isOther) return given;
  checkInUse(where, name, given);
  return new Asked(given);
}

/** What may stand in `out`. */
const OUTPUTS: readonly string[] = ["value", "grads"];

/** Where to write. Each property is asked for once, here: a getter is code of the caller's, and no array has its place yet. */
function readOut(where: string, differentiable: readonly string[], given: unknown): Given {
  checkRecord(where, "out", given, OUTPUTS);
  const { value, grads } = given;
  if (grads === undefined) return { value: asked(where, "out.value", value), grads };
  checkRecord(where, "out.grads", grads, differentiable);
  const arrays: Record<string, unknown> = {};
  for (const key in grads) arrays[key] = asked(where, `out.grads.${key}`, grads[key]);
  return { value: asked(where, "out.value", value), grads: arrays };
}

/** Refuses what is no object that has no other properties than these. */
function checkRecord(
  where: string,
  name: string,
  given: unknown,
  names: readonly string[],
): asserts given is Record<string, unknown> {
  if (!isRecord(given)) wrongType(where, name, given, `an object with ${names.join(", ")}`);
  for (const key in given) {
    if (!names.includes(key)) unknown(where, key, names, `${name}.`);
  }
}

/**
 * Reads whole numbers in [low, high), and `also` where it is given, into an Int32Array; one that is an Int32Array already stays
 * where it is.
 */
export function readLabels(
  where: string,
  operand: Operand,
  low: number,
  high: number,
  expected: string,
  also?: number,
): Int32Array {
  const data = numbersOf(where, operand);
  refuse(where, operand, data, "LABEL", expected, (label) => isWhole(label, low, high) || label === also);
  if (data instanceof Int32Array) return data;
  const result = new Int32Array(data.length);
  for (let i = 0; i < data.length; i++) result[i] = Number(data[i]);
  return result;
}

/** Refuses the first of the numbers of an input that does not hold, if there is one. */
function refuse(
  where: string,
  { name, shape }: Operand,
  data: TypedArray,
  code: "LABEL" | "RANGE",
  expected: string,
  holds: (x: number) => boolean,
): void {
  for (let i = 0; i < data.length; i++)
    if (!holds(Number(data[i]))) fail(code, where, name, String(data[i]), expected, placeOf(i, shape));
}

/** Whether something is a whole number in [low, high). */
export function isWhole(x: unknown, low: number, high: number): x is number {
  return typeof x === "number" && x >= low && x < high && Number.isInteger(x);
}

/** Arrays of labels, one for each of so many rows; where there is one row alone, its labels themselves. */
export function raggedRows(
  where: string,
  name: string,
  given: readonly unknown[],
  count: number,
  single: boolean,
  expected: string,
): readonly ArrayLike<unknown>[] {
  const rows: readonly unknown[] = single ? [given] : given;
  if (rows.length !== count) fail("SHAPE", where, name, arrayOf(rows.length), `${expected}: ${count}`);
  for (let i = 0; i < count; i++) {
    const row = rows[i];
    const place = single ? "" : `[${i}]`;
    if (isTyped(row)) checkBuffer(where, name + place, row);
    else if (!Array.isArray(row)) wrongType(where, name, row, "an array of labels", place);
  }
  return rows as ArrayLike<unknown>[];
}

/** What the first so many inputs broadcast to, which have their own shapes or those given. */
export function broadcastInputs(
  call: Call,
  count: number,
  shapes?: readonly (readonly number[])[],
): readonly number[] {
  const { inputs } = call;
  let all = shapes?.[0] ?? (inputs[0] as Operand).shape;
  for (let i = 1; i < count; i++) {
    const shape = broadcastShape(all, shapes?.[i] ?? (inputs[i] as Operand).shape);
    if (shape === undefined)
      wrongShape(call.where, call.input(i), `a shape that broadcasts with ${shapeText(all)}`);
    all = shape;
  }
  return all;
}

/** Refuses one of the first so many inputs if it has not as many axes as the first. */
export function sameRank(call: Call, count: number): void {
  const rank = call.input(0).shape.length;
  for (let i = 1; i < count; i++) {
    if (call.input(i).shape.length === rank) continue;
    const axes = rank === 1 ? "1 axis" : `${rank} axes`;
    wrongShape(call.where, call.input(i), `${axes}, as ${call.input(0).name}`, "RANK");
  }
}

/** Numbers that an input must be, and what is said where one is not. */
export interface Domain {
  /** Which input. */
  readonly input: number;
  /** The kind that the core's search knows them by; it only finds out whether there is something to refuse. */
  readonly kind: number;
  readonly holds: (x: number) => boolean;
  readonly expected: string;
}

/** Refuses the first number of the input that has a domain which is outside of it, if there is one. */
export function checkDomain({ domain, checked, where, inputs }: Call): void {
  // broadcast to nothing: no number of it is looked at
  if (domain === undefined || checked?.length === 0) return;
  // the slot's array is a valid view even where the core's memory has grown
  const data = (checked as Slot).array as TypedArray;
  refuse(where, inputs[domain.input] as Operand, data, "RANGE", domain.expected, domain.holds);
}

/** Copies numbers of any type; a broadcast operand is spread over its shape. */
export function spread(to: FloatArray | Int32Array, { array, wide }: Pick<Slot, "array" | "wide">): void {
  const given = array as TypedArray;
  const from = (
    typeof given[0] === "bigint" ? Float64Array.from(given as never, Number) : given
  ) as FloatArray;
  if (wide === undefined) to.set(from);
  else
    walk(wide, (i, j, count, step) => {
      if (step === 0) to.fill(from[j] as number, i, i + count);
      else to.set(from.subarray(j, j + count), i);
    });
}

/** Whether the arrays of two slots that have one have bytes in common. */
export function overlap(slot: Slot, other: Slot): boolean {
  const [a, b] = [slot.array as TypedArray, other.array as TypedArray];
  return (
    a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength
  );
}

/** The numbers of an input that are read before they have a slot: see {@link checkAttached}. */
export function numbersOf(where: string, { data, shape }: Operand): TypedArray {
  checkAttached({ array: data, count: sizeOf(shape) }, where);
  return data;
}

/**
 * Code of the caller's that runs while arguments are read (a margin's function, a getter) may make the core's memory grow. Tensors in
 * it are asked for their numbers after that; a view that the caller holds is lost.
 */
export function checkAttached({ array, count }: Pick<Slot, "array" | "count">, where: string): void {
  if (array !== undefined && array.length !== count)
    wrongBuffer(where, "an argument", "whose buffer was detached meanwhile");
}

/** Whether the kernel finds no number in a slot. */
export function isEmpty({ length, place }: Slot): boolean {
  return length === 0 || place === NOWHERE;
}
