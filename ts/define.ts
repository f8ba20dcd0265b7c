/**
 * The one driver that every loss goes through: check, promote, view, call, reduce.
 *
 * A loss is a {@link Definition}: its inputs and options, and a family ({@link Family}) that knows how its arrays are laid out.
 * The driver reads the arguments, lets the family check shapes and name the arrays that the kernel needs (slots), brings
 * those where the engine that answers can reach them, calls it once, and hands back what came out. Nothing that belongs to the
 * user is read after the check has begun to place arrays, and nothing of it is written before every check has passed.
 */
import { describe, fail, shapeText } from "./errors.js";
import {
  addressOf,
  broadcastShape,
  broadcastStrides,
  giveBack,
  isTyped,
  type Operand,
  placeOf,
  readOperand,
  readOutput,
  sameShape,
  sizeOf,
  walk,
} from "./input.js";
import {
  COMMON,
  type Common,
  defaultsOf,
  type OptionTable,
  type OptionValues,
  readOptions,
} from "./options.js";
import { type Core, current, lodging, type Part } from "./runtime/engine.js";
import type { Exports } from "./runtime/generated/exports.js";
import type { CoreMemory } from "./runtime/memory.js";
import type { DType, FloatArray, Tensor, TypedArray } from "./types.js";

/** What the js engine hands to a reference: the array of each slot, or undefined where there is none. */
export type Arrays = readonly (FloatArray | Int32Array | undefined)[];
/** What the wasm engine hands to a kernel: the address of each slot, or 0 where there is none. */
export type Addresses = readonly number[];

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

/** How a family of losses lays out its arrays, and how it is called. `P` is what the family keeps for a call, `R` its references. */
export interface Family<P, R> {
  /** The part of the core that has its kernels. */
  readonly part: Part;
  /** Checks shapes, names the slots in the order of the door's arguments, says what the reduction divides by. */
  plan(call: Call): P;
  /** Calls the kernel; gives the sum of the losses. */
  wasm(exports: Exports, call: Call, plan: P, at: Addresses): number;
  /** Calls the reference; gives the sum of the losses. */
  js(reference: R, call: Call, plan: P, at: Arrays): number;
  /**
   * Of a family that works element by element, where that is allowed: the plan for so many elements. Long arrays that must be copied
   * then go through scratch piece by piece.
   */
  readonly piece?: ((plan: P, count: number) => P | undefined) | undefined;
  /** How many bytes of scratch the kernel needs: its address is the last one. References make their own. */
  readonly scratch?: ((exports: Exports, call: Call, plan: P) => number) | undefined;
  /**
   * Looks at what came back before the losses are reduced: a divisor that only the kernel knows, extras. May give another
   * sum, where the losses are weighted.
   */
  readonly finish?: ((call: Call, plan: P) => number | undefined) | undefined;
}

/** A loss, or a function that is none. */
export interface Definition<P, R> {
  readonly name: string;
  readonly inputs: readonly InputRow[];
  readonly options: OptionTable;
  readonly family: Family<P, R>;
  /** The kernel's number in its family. */
  readonly op: number;
  /** The loss in plain TypeScript. */
  readonly reference: R;
  /** The numbers that the kernel and the reference take, from the options. */
  readonly parameters?: (options: Options) => readonly number[];
  /** The reductions beside none, mean and sum. */
  readonly reductions?: readonly string[];
  /** The value is a tensor, and is not reduced. */
  readonly mapping?: boolean;
  /** A mapping that has no gradients: of the common options it takes `out` alone. */
  readonly plain?: boolean;
}

/** What a slot holds: numbers in the precision of the call, doubles in either, integers, or room without any. */
type Kind = "real" | "double" | "int" | "bytes";

/** The address of an array that is not in the core's memory for certain: the library has just made it. */
const OUTSIDE = -1;
/** The place of an array that the kernel does not see. */
const NOWHERE = -1;

/** An array of a call. */
class Slot {
  constructor(
    readonly kind: Kind,
    /** The user's array or one of ours; viewed anew when it lives in the core's memory and that grows. */
    public array: TypedArray | undefined,
    /** How many numbers the kernel sees, and how many the array has: they differ where an input is broadcast. */
    readonly length: number,
    readonly count: number,
    readonly out: boolean,
    /** Where the array is in the core's memory, if that is known; 0: it is to be asked. */
    readonly address: number,
    /** Whether the kernel can use the array where it stands, if that is in the core's memory. */
    readonly fits: boolean,
    /** Its place among the kernel's arguments. */
    readonly place: number,
    /** For an input that is broadcast: how it is walked, for each element of the shape. */
    readonly strides: readonly number[] | undefined,
    readonly shape: readonly number[] | undefined,
  ) {}
}

/** A gradient that was asked for: the slot that the kernel writes, and where it ends up. */
interface Gradient {
  readonly name: string;
  readonly slot: Slot;
  readonly shape: readonly number[];
  /** What the user gave to write into. */
  readonly given: unknown;
  /** Of an input that was broadcast: the shape of the slot, how the input is walked in it, and the array for the sums. */
  readonly wide: Wide | undefined;
}
interface Wide {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly sums: Slot;
}

/**
 * A definition, and what follows from it and is needed at every call: worked out once. Whatever losses say of themselves, their
 * records here are of one kind: so a call costs no more in a program that uses many of them.
 */
class Face {
  readonly name: string;
  readonly op: number;
  readonly inputs: readonly Required<InputRow>[];
  readonly table: OptionTable;
  readonly defaults: Options;
  readonly reductions: readonly string[];
  readonly mapping: boolean;
  /** The names of the inputs that there are gradients of. */
  readonly differentiable: readonly string[];
  readonly family: Family<unknown, unknown>;
  readonly reference: unknown;
  readonly parameters: ((options: Options) => readonly number[]) | undefined;

  constructor(definition: Definition<unknown, unknown>) {
    const { options, plain, mapping } = definition;
    const { reduction, ...others } = COMMON;
    const common = plain === true ? { out: COMMON.out } : mapping === true ? others : COMMON;
    this.name = definition.name;
    this.op = definition.op;
    this.inputs = definition.inputs.map(
      ({
        name,
        differentiable = false,
        raw = false,
        optional = false,
        labels = false,
        read = readOperand,
      }) => ({
        ...{ name, differentiable, raw, optional, labels, read },
      }),
    );
    this.table = { ...common, ...options };
    this.defaults = defaultsOf(options);
    this.reductions = ["none", "mean", "sum", ...(definition.reductions ?? [])];
    this.mapping = mapping === true;
    this.differentiable = this.inputs.filter((row) => row.differentiable).map((row) => row.name);
    const { part, plan, wasm, js, piece, scratch, finish } = definition.family;
    this.family = { part, plan, wasm, js, piece, scratch, finish };
    this.reference = definition.reference;
    this.parameters = definition.parameters;
  }
}

/** No numbers, without making an array for it. */
const NONE: readonly number[] = [];
const NOTHING_WANTED: readonly string[] = [];
/** The outputs that the user gave. */
interface Given {
  readonly value?: unknown;
  readonly grads?: Record<string, unknown>;
}
const NOTHING_GIVEN: Given = {};

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
  /** @internal Where the kernel finds each of its arrays; 0: nowhere. It is long enough for every family. */
  readonly addresses: number[];
  /** @internal How many arrays of the kernel's have been named. */
  places: number;
  /** @internal */ readonly grads: Gradient[];
  /** @internal */ values: Slot | undefined;
  /** @internal */ valueGiven: unknown;
  /** @internal */ scalarOut: Slot | undefined;
  /** @internal */ readonly wrt: readonly string[] | undefined;
  private readonly out: Given;
  private readonly upstream: Operand | number;

  /** @internal */
  constructor(
    private readonly face: Face,
    readonly raw: readonly unknown[],
    /** Whether gradients are asked for at all. */
    readonly gradients: boolean,
  ) {
    const { name, inputs, mapping, differentiable } = face;
    const most = inputs.length;
    let count = Math.min(raw.length, most);
    // an optional last input may be left out with the options in its place
    const { optional } = inputs[most - 1] as Required<InputRow>;
    if (optional && count === most && isOptions(raw[most - 1])) count -= 1;
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
      if (row.raw || i >= count || (row.optional && given === undefined)) {
        operands[i] = undefined;
        continue;
      }
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
      options === undefined ? face.defaults : readOptions(name, face.table, options, face.defaults, common);
    this.dtype = dtype ?? "float64";
    const { upstream, wrt, out } = common;
    const { reduction } = common;
    if (!mapping && reduction !== "mean") checkReduction(name, face.reductions, reduction);
    this.reduction = mapping ? "none" : (reduction as string);
    this.upstream = typeof upstream === "number" ? upstream : readOperand(name, "upstream", upstream);
    if (gradients && wrt !== undefined) checkWrt(name, differentiable, wrt);
    this.wrt = gradients ? (wrt as readonly string[] | undefined) : NOTHING_WANTED;
    this.out = out === undefined ? NOTHING_GIVEN : readOut(name, differentiable, out);
    this.parameters = face.parameters === undefined ? NONE : face.parameters(this.options);
    this.scale = 1;
    this.divisor = 1;
    this.lossShape = NONE;
    this.planned = false;
    this.extras = undefined;
    this.slots = [];
    this.addresses = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    this.places = 0;
    this.grads = [];
    this.values = undefined;
    this.valueGiven = undefined;
    this.scalarOut = undefined;
  }

  /** The name that errors begin with. */
  get where(): string {
    return this.face.name;
  }

  /** The kernel's number in its family. */
  get op(): number {
    return this.face.op;
  }

  /** The i-th input, which is there. */
  input(i: number): Operand {
    return this.inputs[i] as Operand;
  }

  /** Whether a gradient with respect to this input is asked for. */
  wants(name: string): boolean {
    return this.gradients && (this.wrt === undefined || this.wrt.includes(name));
  }

  /** A slot that holds nothing. */
  absent(): void {
    this.places++;
  }

  /** An array of numbers that goes in, in the precision of the call. */
  real(operand: Operand | undefined): void {
    if (operand === undefined) this.absent();
    else this.push("real", operand.data, sizeOf(operand.shape), false, operand.address ?? 0);
  }

  /** The same, broadcast to a shape that it is known to fit ({@link broadcastStrides}). */
  broadcast(operand: Operand | undefined, shape: readonly number[], own = operand?.shape): void {
    if (operand === undefined || own === undefined) {
      this.absent();
      return;
    }
    const length = sizeOf(shape);
    const { data, address = 0 } = operand;
    if (sameShape(own, shape)) this.push("real", data, length, false, address);
    else {
      const strides = broadcastStrides(own, shape) as number[];
      this.push("real", data, length, false, address, sizeOf(own), strides, shape);
    }
  }

  /** Labels, lengths: whole numbers that were checked. */
  ints(data: Int32Array | undefined): void {
    if (data === undefined) this.absent();
    else this.push("int", data, data.length, false, 0);
  }

  /** Doubles that go in, in either precision of the call. */
  doubles(data: Float64Array | undefined): void {
    if (data === undefined) this.absent();
    else this.push("double", data, data.length, false, OUTSIDE);
  }

  /** An array of the library's that the kernel writes to. */
  result(data: FloatArray | Int32Array): void {
    this.push(
      data instanceof Int32Array
        ? "int"
        : data.BYTES_PER_ELEMENT === 8 && this.dtype === "float32"
          ? "double"
          : "real",
      data,
      data.length,
      true,
      OUTSIDE,
    );
  }

  /** Room for the kernel's own use; the js engine's references make their own. */
  work(bytes: number): void {
    this.push("bytes", undefined, bytes, false, OUTSIDE, 0);
  }

  /** The single losses, where they are asked for; `lossShape` is set. A kernel may have them as doubles in either precision. */
  valueSlot(kind: "real" | "double" = "real"): void {
    if (this.reduction !== "none") {
      if (this.out.value !== undefined) this.readScalarOut(this.out.value);
      this.absent();
      return;
    }
    const length = sizeOf(this.lossShape);
    const given = this.out.value;
    const address = addressOfOutput(given);
    this.valueGiven = given;
    this.values = this.push(kind, this.output("value", given, address, length), length, true, address);
  }

  /** Where a reduced value is to be written as well as returned. */
  private readScalarOut(given: unknown): void {
    const address = addressOfOutput(given);
    this.scalarOut = this.writtenLater(this.output("value", given, address, 1), address);
  }

  /**
   * The gradient with respect to the i-th input, in the shape of that input or broadcast to `wide`; `aligned` is that shape
   * with the axes of length 1 that the broadcast needs where they are not at the front.
   */
  gradientSlot(i: number, wide?: readonly number[], aligned?: readonly number[]): void {
    const operand = this.inputs[i];
    if (operand === undefined || this.face.inputs[i]?.differentiable !== true || !this.wants(operand.name)) {
      this.absent();
      return;
    }
    const { name, shape } = operand;
    // not that of its data: a family that called the user's code may have had the core's memory grow, and views detached
    const length = sizeOf(shape);
    const given = this.out.grads?.[name];
    const address = addressOfOutput(given);
    const data = this.output(name, given, address, length);
    if (wide === undefined || sameShape(wide, shape)) {
      const slot = this.push("real", data, length, true, address);
      this.grads.push({ name, slot, shape, given, wide: undefined });
      return;
    }
    // the kernel writes one gradient per broadcast element; they are added up afterwards
    const strides = broadcastStrides(aligned ?? shape, wide) as number[];
    const all = this.fresh(sizeOf(wide));
    const slot = this.push("real", all, all.length, true, OUTSIDE);
    const sums = this.writtenLater(data, address);
    this.grads.push({ name, slot, shape, given, wide: { shape: wide, strides, sums } });
  }

  /** The upstream gradient: an array where there is one number per loss; a single number goes into `scale`. */
  upstreamSlot(): void {
    const { upstream } = this;
    this.scale = 1 / this.divisor;
    if (typeof upstream === "number") {
      this.scale *= upstream;
      this.absent();
      return;
    }
    if (upstream.shape.length === 0 || (this.reduction !== "none" && upstream.data.length === 1)) {
      this.scale *= Number(upstream.data[0]);
      this.absent();
      return;
    }
    if (this.reduction !== "none") {
      fail(
        "SHAPE",
        this.where,
        "upstream",
        `of shape ${shapeText(upstream.shape)}`,
        `a number with reduction ${JSON.stringify(this.reduction)}`,
      );
    }
    if (
      !sameShape(upstream.shape, this.lossShape) &&
      !(upstream.shape.length === 1 && upstream.data.length === sizeOf(this.lossShape))
    ) {
      fail(
        "SHAPE",
        this.where,
        "upstream",
        `of shape ${shapeText(upstream.shape)}`,
        `a number or ${shapeText(this.lossShape)}`,
      );
    }
    this.real(upstream);
  }

  /** The upstream gradient of each loss as doubles, for families that weight each loss in a mean themselves. */
  upstreamPerLoss(weights: Float64Array, result = new Float64Array(weights.length)): Float64Array {
    const { upstream } = this;
    const losses = weights.length;
    const single =
      typeof upstream === "number"
        ? upstream
        : upstream.data.length === 1
          ? Number(upstream.data[0])
          : undefined;
    if (single === undefined) {
      const given = upstream as Operand;
      if (this.reduction !== "none" || given.data.length !== losses) {
        const expected =
          this.reduction === "none"
            ? `a number or ${shapeText(this.lossShape)}`
            : `a number with reduction ${JSON.stringify(this.reduction)}`;
        fail("SHAPE", this.where, "upstream", `of shape ${shapeText(given.shape)}`, expected);
      }
      for (let i = 0; i < losses; i++) result[i] = Number(given.data[i]) * (weights[i] as number);
    } else for (let i = 0; i < losses; i++) result[i] = single * (weights[i] as number);
    return result;
  }

  /** A new array in the precision of the call. */
  fresh(length: number): FloatArray {
    try {
      return this.dtype === "float32" ? new Float32Array(length) : new Float64Array(length);
    } catch {
      fail("OUT_OF_MEMORY", this.where, "the result", `an array of ${length}`, "one that there is room for");
    }
  }

  /** The array to write to, a new one where none was given; `name` is `"value"` or that of an input. */
  private output(name: string, given: unknown, address: number, length: number): FloatArray {
    return given === undefined ? this.fresh(length) : readOutput(this.where, name, given, address, length);
  }

  private push(
    kind: Kind,
    array: TypedArray | undefined,
    length: number,
    out: boolean,
    address: number,
    count = length,
    strides?: readonly number[],
    shape?: readonly number[],
  ): Slot {
    const fits =
      address !== OUTSIDE &&
      strides === undefined &&
      length > 0 &&
      (kind === "int"
        ? array instanceof Int32Array
        : kind === "double" || this.dtype === "float64"
          ? array instanceof Float64Array
          : array instanceof Float32Array);
    const slot = new Slot(kind, array, length, count, out, address, fits, this.places++, strides, shape);
    this.slots.push(slot);
    return slot;
  }

  /** What is written after the kernel was called. */
  private writtenLater(array: FloatArray, address: number): Slot {
    const { length } = array;
    const slot = new Slot("real", array, length, length, true, address, false, NOWHERE, undefined, undefined);
    this.slots.push(slot);
    return slot;
  }
}

/** Where the array of an output is in the core's memory, as far as that is known. */
function addressOfOutput(given: unknown): number {
  return given === undefined ? OUTSIDE : addressOf(given);
}

/** Whether an argument is options rather than an input. */
function isOptions(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !isTyped(value) &&
    !("data" in value)
  );
}

function checkReduction(where: string, allowed: readonly string[], value: unknown): void {
  if (!allowed.includes(value as string)) {
    fail("OPTION", where, "reduction", describe(value), allowed.map((w) => JSON.stringify(w)).join(" or "));
  }
}

function checkWrt(where: string, names: readonly string[], value: unknown): void {
  if (!Array.isArray(value))
    fail("TYPE", where, "wrt", describe(value), `an array of names from ${names.join(", ")}`);
  for (let i = 0; i < value.length; i++) {
    if (!names.includes(value[i] as string))
      fail("OPTION", where, "wrt", describe(value[i]), `one of ${names.join(", ")}`, `[${i}]`);
  }
}

/** Where to write. Each property is asked for once, here: a getter is code of the caller's, and no array has its place yet. */
function readOut(where: string, names: readonly string[], value: unknown): Given {
  if (typeof value !== "object" || value === null)
    fail("TYPE", where, "out", describe(value), "{ value, grads }");
  for (const key in value) {
    if (key !== "value" && key !== "grads")
      fail("UNKNOWN_OPTION", where, `out.${key}`, "no option", "value or grads");
  }
  const { value: single, grads } = value as { value?: unknown; grads?: unknown };
  if (grads === undefined) return { value: single };
  if (typeof grads !== "object" || grads === null)
    fail("TYPE", where, "out.grads", describe(grads), "an object of arrays");
  const arrays: Record<string, unknown> = {};
  for (const key in grads) {
    if (!names.includes(key))
      fail("UNKNOWN_OPTION", where, `out.grads.${key}`, "no gradient", names.join(", "));
    arrays[key] = (grads as Record<string, unknown>)[key];
  }
  return { value: single, grads: arrays };
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
  const { data, name, shape } = operand;
  const result = data instanceof Int32Array ? data : new Int32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const label = Number(data[i]);
    if (!((label >= low && label < high && Number.isInteger(label)) || label === also)) {
      fail("LABEL", where, name, String(data[i]), expected, placeOf(i, shape));
    }
    if (result !== data) result[i] = label;
  }
  return result;
}

/** Refuses the shape of the i-th input. */
export function wrongShape(call: Call, i: number, expected: string): never {
  const { name, shape } = call.input(i);
  return fail("SHAPE", call.where, name, `of shape ${shapeText(shape)}`, expected);
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
    if (shape === undefined) wrongShape(call, i, `a shape that broadcasts with ${shapeText(all)}`);
    all = shape;
  }
  return all;
}

/** Refuses one of the first so many inputs if it has not as many axes as the first. */
export function sameRank(call: Call, count: number): void {
  const rank = call.input(0).shape.length;
  for (let i = 1; i < count; i++) {
    const { name, shape } = call.input(i);
    if (shape.length === rank) continue;
    const axes = rank === 1 ? "1 axis" : `${rank} axes`;
    fail("RANK", call.where, name, `of shape ${shapeText(shape)}`, `${axes}, as ${call.input(0).name}`);
  }
}

/** Numbers that an input must be, and what is said where one is not. */
export interface Domain {
  readonly input: number;
  /** Where it stands among the slots. */
  readonly slot: number;
  /** The kind that the core's search knows them by; it only finds out whether there is something to refuse. */
  readonly kind?: number;
  readonly holds: (x: number) => boolean;
  readonly expected: string;
}

/** Refuses the first number of an input that is outside of its domain, if there is one. */
export function checkDomain(call: Call, domain: Domain | undefined): void {
  if (domain === undefined) return;
  const { name, shape } = call.input(domain.input);
  const slot = slotAt(call, domain.slot);
  // broadcast to nothing: no number of it is looked at
  if (slot.length === 0) return;
  // the slot's array is a valid view even where the core's memory has grown
  const data = slot.array as TypedArray;
  for (let i = 0; i < data.length; i++) {
    const x = Number(data[i]);
    if (!domain.holds(x)) fail("RANGE", call.where, name, String(x), domain.expected, placeOf(i, shape));
  }
}

/** The same where the core answers: it searches the numbers where they were placed, before anything is written. */
export function checkDomainInCore(
  exports: Exports,
  call: Call,
  domain: Domain | undefined,
  at: Addresses,
): void {
  if (domain?.kind !== undefined) {
    const find = call.dtype === "float32" ? exports.find_invalid_f32 : exports.find_invalid_f64;
    if (find(domain.kind, slotAt(call, domain.slot).length, at[domain.slot] as number) < 0) return;
  }
  checkDomain(call, domain);
}

function slotAt({ slots }: Call, place: number): Slot {
  return slots.find((slot) => slot.place === place) as Slot;
}

function isEmpty({ length, place }: Slot): boolean {
  return length === 0 || place === NOWHERE;
}

/** Refuses names in `wrt` of inputs that have no gradient in this call: classes where there could have been probabilities. */
function checkGradients({ name, differentiable }: Face, { wrt = NOTHING_WANTED, grads }: Call): void {
  wrt.forEach((wanted, i) => {
    if (grads.some((gradient) => gradient.name === wanted)) return;
    const others = differentiable.filter((other) => other !== wanted).join(", ");
    fail(
      "OPTION",
      name,
      "wrt",
      `${describe(wanted)}, which has no gradient here`,
      `one of ${others}`,
      `[${i}]`,
    );
  });
}

/** Runs one call from the arguments to the result. */
function run(face: Face, args: readonly unknown[], gradients: boolean): unknown {
  const { family } = face;
  const call = new Call(face, args, gradients);
  const plan = family.plan(call);
  if (call.wrt !== undefined && call.wrt.length !== call.grads.length) checkGradients(face, call);
  let sum = 0;
  // where all arrays are empty there is nothing to do, however long their other axes are
  if (call.planned || !call.slots.every(isEmpty)) {
    const core = call.planned ? undefined : current(family.part);
    sum = core === undefined ? onJs(face, call, plan) : onWasm(core, face, call, plan);
  }
  sum = family.finish?.(call, plan) ?? sum;
  for (let i = 0; i < call.inputs.length; i++) giveBack(call.inputs[i]);
  let value: unknown;
  if (call.reduction === "none")
    value = handBack(call.valueGiven, (call.values as Slot).array as FloatArray, call.lossShape);
  else {
    const reduced = sum / call.divisor;
    if (call.scalarOut !== undefined) (call.scalarOut.array as FloatArray)[0] = reduced;
    value = reduced;
  }
  if (!gradients) return value;
  const grads: Record<string, Tensor> = {};
  for (const { name, slot, shape, given, wide } of call.grads) {
    const data = (wide?.sums ?? slot).array as FloatArray;
    if (wide !== undefined) gather(data, slot.array as FloatArray, wide.shape, wide.strides);
    grads[name] = handBack(given, data, shape);
  }
  return call.extras === undefined ? { value, grads } : { value, grads, ...call.extras };
}

/** A tensor that the user gave comes back itself; an array gets its shape. */
function handBack(given: unknown, data: FloatArray, shape: readonly number[]): Tensor {
  if (given !== undefined && !isTyped(given) && "shape" in (given as object)) return given as Tensor;
  return { data, shape };
}

/** Adds up what came out per broadcast element, in double precision. */
function gather(
  data: FloatArray,
  wide: FloatArray,
  shape: readonly number[],
  strides: readonly number[],
): void {
  const sums = new Float64Array(data.length);
  walk(shape, strides, (i, j) => {
    sums[j] = (sums[j] as number) + (wide[i] as number);
  });
  data.set(sums);
}

/** Copies numbers of any type; a broadcast operand is spread over its shape. */
function spread(to: FloatArray | Int32Array, slot: Slot): void {
  const from = slot.array as TypedArray;
  if (slot.strides !== undefined) {
    walk(slot.shape as readonly number[], slot.strides, (i, j) => {
      to[i] = Number(from[j]);
    });
  } else if (typeof from[0] === "bigint") {
    for (let i = 0; i < slot.length; i++) to[i] = Number(from[i]);
  } else to.set(from as FloatArray);
}

/** The js engine reads and writes the user's arrays themselves: numbers are doubles as soon as they are read. */
function onJs({ family, reference }: Face, call: Call, plan: unknown): number {
  const { slots } = call;
  const at = call.addresses.map((): FloatArray | Int32Array | undefined => undefined);
  const copies: { to: FloatArray; from: FloatArray }[] = [];
  for (const slot of slots) {
    if (isStale(slot)) renew(slot, call.where);
    const { array, out, place, strides } = slot;
    if (place === NOWHERE || array === undefined) continue;
    let own = array as FloatArray;
    // a reference may read an input again after it has written: an output that overlaps one is written at the end
    if (out && slots.some((other) => other !== slot && other.place !== NOWHERE && overlap(slot, other))) {
      // of the same precision, so that it rounds alike
      own = own.slice();
      copies.push({ to: array as FloatArray, from: own });
    } else if (!out && (strides !== undefined || typeof array[0] === "bigint")) {
      own = new Float64Array(slot.length);
      spread(own, slot);
    }
    at[place] = own;
  }
  const sum = family.js(reference, call, plan, at);
  for (const { to, from } of copies) to.set(from);
  return sum;
}

function overlap({ array: a }: Slot, { array: b }: Slot): boolean {
  return (
    a !== undefined &&
    b !== undefined &&
    a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength
  );
}

/** Whether what a slot has at its address overlaps what another one has at its own. */
function overlapsInPlace(slot: Slot, slots: readonly Slot[], at: Addresses, real: number): boolean {
  const start = at[slot.place];
  if (start === 0 || start === undefined) return false;
  const end = start + bytesOf(slot, real);
  for (let k = 0; k < slots.length; k++) {
    const other = slots[k] as Slot;
    if (other === slot || other.place === NOWHERE) continue;
    const first = at[other.place] as number;
    if (first !== 0 && first < end && start < first + bytesOf(other, real)) return true;
  }
  return false;
}

/** Bytes of what a slot holds, where a real takes so many. */
function bytesOf({ kind, length }: Slot, real: number): number {
  return length * (kind === "real" ? real : kind === "double" ? 8 : kind === "int" ? 4 : 1);
}

/** Bytes that a slot takes in scratch, where each starts at a vector's width. */
function roomFor(slot: Slot, real: number): number {
  return Math.ceil(bytesOf(slot, real) / 16) * 16;
}

/** The wasm engine: arrays in the core's memory go in by address, others through scratch. */
function onWasm({ memory, exports }: Core, { family }: Face, call: Call, plan: unknown): number {
  const { slots, dtype, addresses: at } = call;
  if (family.scratch !== undefined) {
    const needed = family.scratch(exports, call, plan);
    // 32 bits of the core's are a signed number here
    call.work(needed < 0 ? needed + 2 ** 32 : needed);
  }
  const real = dtype === "float32" ? 4 : 8;
  let bytes = 0;
  let written = false;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as Slot;
    if (isStale(slot)) renew(slot, call.where);
    if (slot.place === NOWHERE) continue;
    let address = 0;
    if (slot.fits) {
      const array = slot.array as FloatArray;
      address = slot.address > 0 ? slot.address : memory.holds(array) ? array.byteOffset : 0;
    }
    at[slot.place] = address;
    if (address === 0) bytes += roomFor(slot, real);
    else written ||= slot.out;
  }
  // what is written must overlap nothing else: else it goes through scratch as well
  if (written) {
    for (const slot of slots.filter((slot) => slot.out && overlapsInPlace(slot, slots, at, real))) {
      at[slot.place] = 0;
      bytes += roomFor(slot, real);
    }
  }
  if (bytes > PIECE * real && canGoInPieces(family, call, plan))
    return inPieces(memory, exports, family, call, plan, real);
  const start = bytes === 0 ? 0 : enter(memory, bytes, slots);
  try {
    let next = start;
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      if (at[slot.place] !== 0 || slot.length === 0) continue;
      at[slot.place] = next;
      if (slot.array !== undefined && !slot.out) copyIn(memory, next, slot, real);
      next += roomFor(slot, real);
    }
    const sum = family.wasm(exports, call, plan, at);
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      const address = at[slot.place] as number;
      if (slot.out && address >= start && address < start + bytes) copyOut(memory, address, slot, real);
    }
    return sum;
  } finally {
    if (bytes > 0) memory.leave(start, bytes);
  }
}

/**
 * How many elements make a piece: few enough for the second cache, so that copying costs little. The kernel adds up by such
 * pieces too (crates/kernels/src/pointwise), so a sum has the same bits either way.
 */
const PIECE = 16384;

/** All arrays have one length and lie apart. */
function canGoInPieces(family: Family<unknown, unknown>, { slots }: Call, plan: unknown): boolean {
  if (family.piece?.(plan, PIECE) === undefined) return false;
  const present = slots.filter((slot) => slot.place !== NOWHERE);
  const { length } = present[0] as Slot;
  return present.every(
    (slot) =>
      slot.length === length &&
      slot.strides === undefined &&
      (!slot.out || !present.some((other) => other !== slot && overlap(slot, other))),
  );
}

/** The wasm engine on long arrays: see {@link Family.piece}. Those that have an address already stay in place. */
function inPieces(
  memory: CoreMemory,
  exports: Exports,
  family: Family<unknown, unknown>,
  call: Call,
  plan: unknown,
  real: number,
): number {
  const { slots, addresses: at } = call;
  const copied = slots.filter(({ place }) => at[place] === 0);
  const bytes = copied.length * PIECE * real;
  const start = enter(memory, bytes, slots);
  try {
    const { length } = copied[0] as Slot;
    let sum = 0;
    for (let first = 0; first < length; first += PIECE) {
      const count = Math.min(PIECE, length - first);
      const here = at.map((address) => (address === 0 ? 0 : address + first * real));
      const pieces = copied.map(({ kind, array, out, place }, k) => {
        const address = start + k * PIECE * real;
        const piece = (array as FloatArray).subarray(first, first + count);
        here[place] = address;
        return new Slot(kind, piece, count, count, out, address, true, place, undefined, undefined);
      });
      for (const piece of pieces) if (!piece.out) copyIn(memory, piece.address, piece, real);
      sum += family.wasm(exports, call, family.piece?.(plan, count), here);
      for (const piece of pieces) if (piece.out) copyOut(memory, piece.address, piece, real);
    }
    return sum;
  } finally {
    memory.leave(start, bytes);
  }
}

/** Takes scratch. Where the memory grows for it, arrays that live there are viewed anew: growth detaches the old views. */
function enter(memory: CoreMemory, bytes: number, slots: readonly Slot[]): number {
  const kept = memory.enterKept(bytes);
  if (kept !== 0) return kept;
  const offsets = slots.map(({ array }) =>
    array !== undefined && memory.holds(array) ? array.byteOffset : -1,
  );
  const before = memory.buffer;
  const start = memory.enter(bytes);
  if (memory.buffer !== before) {
    slots.forEach((slot, i) => {
      if ((offsets[i] as number) >= 0) viewAnew(memory, slot, offsets[i] as number);
    });
  }
  return start;
}

/** Views what a slot has in the core's memory after that has grown. */
function viewAnew(memory: CoreMemory, slot: Slot, offset: number): void {
  const Type = (slot.array as TypedArray).constructor as new (
    buffer: ArrayBuffer,
    offset: number,
    length: number,
  ) => TypedArray;
  slot.array = new Type(memory.buffer, offset, slot.count);
}

/**
 * Code of the caller's that runs while arguments are read (a margin's function, a getter) may make the core's memory grow. Tensors in
 * it are then viewed anew; a view that the caller holds is lost.
 */
function isStale({ array, count }: Slot): boolean {
  return array !== undefined && array.length !== count;
}

function renew(slot: Slot, where: string): void {
  if (slot.address > 0) viewAnew(lodging(), slot, slot.address);
  else {
    const expected = "an array on a fixed, attached ArrayBuffer";
    fail("BUFFER", where, "an argument", "an array whose buffer was detached meanwhile", expected);
  }
}

/** The core's memory, seen as what a slot holds. */
function viewFor(memory: CoreMemory, { kind }: Slot, real: number): FloatArray | Int32Array {
  return kind === "int" ? memory.i32 : kind === "double" || real === 8 ? memory.f64 : memory.f32;
}

/** Up to here a loop is cheaper than the call of set(). */
const SHORT = 64;

function copyIn(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { length } = slot;
  const array = slot.array as FloatArray;
  const whole = viewFor(memory, slot, real);
  const first = address / whole.BYTES_PER_ELEMENT;
  if (slot.strides !== undefined || typeof array[0] === "bigint")
    spread(whole.subarray(first, first + length), slot);
  else if (length <= SHORT) copyShort(array, 0, whole, first, length);
  else whole.set(array, first);
}

function copyOut(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { length } = slot;
  const array = slot.array as FloatArray;
  const whole = viewFor(memory, slot, real);
  const first = address / whole.BYTES_PER_ELEMENT;
  if (length <= SHORT) copyShort(whole, first, array, 0, length);
  else array.set(whole.subarray(first, first + length));
}

function copyShort(
  from: FloatArray | Int32Array,
  at: number,
  to: FloatArray | Int32Array,
  first: number,
  length: number,
): void {
  // a loop over arrays of one known type is compiled to a few instructions
  if (from instanceof Float32Array && to instanceof Float32Array) {
    for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
  } else if (from instanceof Float64Array && to instanceof Float64Array) {
    for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
  } else for (let i = 0; i < length; i++) to[first + i] = from[at + i] as number;
}

/** Makes the two faces of a loss. */
export function define<P, R, T>(definition: Definition<P, R>): T {
  const { name } = definition;
  let known: Face | undefined;
  // at the first call: a program that starts has better things to do
  const face = (): Face => {
    known ??= new Face(definition as unknown as Definition<unknown, unknown>);
    return known;
  };
  const value = (...args: unknown[]): unknown => run(face(), args, false);
  const valueAndGrad = (...args: unknown[]): unknown => run(face(), args, true);
  return Object.assign(named(value, name), {
    valueAndGrad: named(valueAndGrad, `${name}.valueAndGrad`),
  }) as unknown as T;
}

function named<F extends object>(f: F, name: string): F {
  return Object.defineProperty(f, "name", { value: name });
}
