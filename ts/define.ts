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
  isTyped,
  type Operand,
  placeOf,
  readOperand,
  readOutput,
  sameShape,
  sizeOf,
  walk,
} from "./input.js";
import { anything, defaultsOf, type OptionTable, type OptionValues, readOptions } from "./options.js";
import { type Core, current, type Part } from "./runtime/engine.js";
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
  piece?(plan: P, count: number): P | undefined;
  /** How many bytes of scratch the kernel needs: its address is the last one. References make their own. */
  scratch?(exports: Exports, call: Call, plan: P): number;
  /**
   * Looks at what came back before the losses are reduced: a divisor that only the kernel knows, extras. May give another
   * sum, where the losses are weighted.
   */
  finish?(call: Call, plan: P): number | undefined;
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
  /** A check of the numbers themselves that is made before anything is written. */
  readonly check?: (call: Call) => void;
}

/** The options of every loss. */
const COMMON = { reduction: anything(), upstream: anything(), wrt: anything(), out: anything() };
/** Of every function that is no loss: nothing is reduced. */
const COMMON_MAPPING = { upstream: anything(), wrt: anything(), out: anything() };
const COMMON_PLAIN = { out: anything() };

/** What a slot holds. */
type Kind = "real" | "double" | "int" | "bytes";

interface Slot {
  readonly kind: Kind;
  /** The user's array or one of ours; viewed anew when it lives in the core's memory and that grows. */
  array: TypedArray | undefined;
  /** How many numbers the kernel sees, and how many the array has: they differ where an input is broadcast. */
  readonly length: number;
  readonly count: number;
  readonly out: boolean;
  /** For an input that is broadcast: how it is walked, for each element of the shape. */
  readonly strides: readonly number[] | undefined;
  readonly shape: readonly number[] | undefined;
  /** Where the array is in the core's memory, if that is known; 0: it is to be asked. */
  readonly address: number;
}

const ABSENT: Slot = {
  kind: "bytes",
  array: undefined,
  length: 0,
  count: 0,
  out: false,
  strides: undefined,
  shape: undefined,
  address: 0,
};

/** A gradient that was asked for: the slot that the kernel writes, and where it ends up. */
interface Gradient {
  readonly name: string;
  readonly slot: Slot;
  readonly shape: readonly number[];
  /** What the user gave to write into. */
  readonly given: unknown;
  /** Of an input that was broadcast: the shape of the slot, how the input is walked in it, and the array for the sums. */
  readonly wide?: {
    readonly shape: readonly number[];
    readonly strides: readonly number[];
    readonly sums: Slot;
  };
}

/** A definition, and what follows from it and is needed at every call: worked out once. */
interface Face {
  readonly definition: Definition<unknown, unknown>;
  readonly table: OptionTable;
  readonly defaults: Options;
  readonly reductions: readonly string[];
  /** The names of the inputs that there are gradients of. */
  readonly differentiable: readonly string[];
}

/** No numbers, without making an array for it. */
const NONE: readonly number[] = [];
const NO_SLOTS: readonly Slot[] = [];
const NOTHING_WANTED: readonly string[] = [];
const NOTHING_GIVEN: { value?: unknown; grads?: Record<string, unknown> } = {};

/** One call of one loss: its arguments after reading, and what the family makes of them. */
export class Call {
  readonly definition: Definition<unknown, unknown>;
  readonly inputs: readonly (Operand | undefined)[];
  readonly raw: readonly unknown[];
  readonly options: Options;
  readonly parameters: readonly number[];
  readonly dtype: DType;
  /** Whether gradients are asked for at all. */
  readonly gradients: boolean;
  readonly reduction: string;
  /** What multiplies every gradient: the upstream number, over the divisor. */
  scale = 1;
  /** What a mean divides by. */
  divisor = 1;
  /** The shape of the single losses. */
  lossShape: readonly number[] = [];
  /** Set by a family whose plan has computed the results already, in TypeScript: the core is passed by. */
  planned = false;
  /** What comes back beside the value and the gradients. */
  extras: object | undefined;

  /** @internal */ readonly slots: Slot[] = [];
  /** @internal */ readonly grads: Gradient[] = [];
  /** @internal */ values: Slot | undefined;
  /** @internal */ valueGiven: unknown;
  /** @internal */ scalarOut: Slot | undefined;
  /** @internal What is written after the kernel was called, beside the slots. */ later: readonly Slot[] =
    NO_SLOTS;
  private readonly wrt: readonly string[] | undefined;
  private readonly out: { value?: unknown; grads?: Record<string, unknown> };
  private readonly upstream: Operand | number;

  /** @internal */
  constructor(
    { definition, table, defaults, reductions, differentiable }: Face,
    args: readonly unknown[],
    gradients: boolean,
  ) {
    this.definition = definition;
    const { name, inputs } = definition;
    const most = inputs.length;
    let count = Math.min(args.length, most);
    // an optional last input may be left out with the options in its place
    const last = inputs[most - 1] as InputRow;
    if (last.optional === true && count === most && isOptions(args[most - 1])) count -= 1;
    const least = last.optional === true ? most - 1 : most;
    if (count < least || args.length > count + 1) {
      const names = inputs.map((input) => input.name).join(", ");
      fail(
        "ARGUMENT_COUNT",
        name,
        "the number of arguments",
        String(args.length),
        `${least} (${names}) and the options`,
      );
    }
    const operands: (Operand | undefined)[] = [];
    let dtype: DType | undefined;
    for (let i = 0; i < most; i++) {
      const row = inputs[i] as InputRow;
      const given = args[i];
      if (row.raw === true || i >= count || (row.optional === true && given === undefined)) {
        operands.push(undefined);
        continue;
      }
      const operand = (row.read ?? readOperand)(name, row.name, given);
      operands.push(operand);
      const fewer =
        row.labels === "fewer axes" && operand.shape.length < (operands[0] as Operand).shape.length;
      if (row.labels === true || fewer) continue;
      if (operand.precision === "float64") dtype = "float64";
      else if (operand.precision === "float32") dtype ??= "float32";
    }
    this.inputs = operands;
    this.raw = args;
    this.options = readOptions(name, table, args[count], defaults);
    this.dtype = dtype ?? "float64";
    this.gradients = gradients;
    const { reduction = "mean", upstream = 1, wrt, out } = this.options as Record<string, unknown>;
    this.reduction = definition.mapping === true ? "none" : readReduction(name, reductions, reduction);
    this.upstream = typeof upstream === "number" ? upstream : readOperand(name, "upstream", upstream);
    this.wrt = gradients ? readWrt(name, differentiable, wrt) : NOTHING_WANTED;
    this.out = out === undefined ? NOTHING_GIVEN : readOut(name, differentiable, out);
    this.parameters = definition.parameters?.(this.options) ?? NONE;
  }

  /** The name that errors begin with. */
  get where(): string {
    return this.definition.name;
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
    this.slots.push(ABSENT);
  }

  /** An array of numbers that goes in, in the precision of the call. */
  real(operand: Operand | undefined): void {
    if (operand === undefined) this.absent();
    else this.push("real", operand.data, sizeOf(operand.shape), false, operand.address);
  }

  /** The same, broadcast to a shape that it is known to fit ({@link broadcastStrides}). */
  broadcast(operand: Operand | undefined, shape: readonly number[]): void {
    if (operand === undefined || sameShape(operand.shape, shape)) {
      this.real(operand);
      return;
    }
    const strides = broadcastStrides(operand.shape, shape) as number[];
    this.slots.push({
      kind: "real",
      array: operand.data,
      length: sizeOf(shape),
      count: sizeOf(operand.shape),
      out: false,
      strides,
      shape,
      address: operand.address ?? 0,
    });
  }

  /** Labels, lengths: whole numbers that were checked. */
  ints(data: Int32Array | undefined): void {
    if (data === undefined) this.absent();
    else this.push("int", data, data.length, false);
  }

  /** Doubles that go in, in either precision of the call. */
  doubles(data: Float64Array | undefined): void {
    if (data === undefined) this.absent();
    else this.push("double", data, data.length, false);
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
    );
  }

  /** Room for the kernel's own use; the js engine's references make their own. */
  work(bytes: number): void {
    this.slots.push({
      kind: "bytes",
      array: undefined,
      length: bytes,
      count: 0,
      out: false,
      strides: undefined,
      shape: undefined,
      address: 0,
    });
  }

  /** The single losses, where they are asked for; `lossShape` is set. A kernel may have them as doubles in either precision. */
  valueSlot(kind: "real" | "double" = "real"): void {
    if (this.reduction !== "none") {
      this.readScalarOut();
      this.absent();
      return;
    }
    const length = sizeOf(this.lossShape);
    const given = this.out.value;
    const data =
      given === undefined ? this.fresh(length) : readOutput(this.where, "out.value", given, length);
    this.valueGiven = given;
    this.values = this.push(kind, data, length, true, addressOf(given));
  }

  /** Where a reduced value is to be written as well as returned. */
  private readScalarOut(): void {
    const given = this.out.value;
    if (given === undefined) return;
    this.scalarOut = this.writtenLater(readOutput(this.where, "out.value", given, 1), addressOf(given));
  }

  /**
   * The gradient with respect to the i-th input, in the shape of that input or broadcast to `wide`; `aligned` is that shape
   * with the axes of length 1 that the broadcast needs where they are not at the front.
   */
  gradientSlot(i: number, wide?: readonly number[], aligned?: readonly number[]): void {
    const operand = this.inputs[i];
    if (
      operand === undefined ||
      this.definition.inputs[i]?.differentiable !== true ||
      !this.wants(operand.name)
    ) {
      this.absent();
      return;
    }
    const { name, shape } = operand;
    // not that of its data: a family that called the user's code may have had the core's memory grow, and views detached
    const length = sizeOf(shape);
    const given = this.out.grads?.[name];
    const data =
      given === undefined ? this.fresh(length) : readOutput(this.where, `out.grads.${name}`, given, length);
    if (wide === undefined || sameShape(wide, shape)) {
      this.grads.push({ name, slot: this.push("real", data, length, true, addressOf(given)), shape, given });
      return;
    }
    // the kernel writes one gradient per broadcast element; they are added up afterwards
    const strides = broadcastStrides(aligned ?? shape, wide) as number[];
    const all = this.fresh(sizeOf(wide));
    const slot = this.push("real", all, all.length, true);
    const sums = this.writtenLater(data, addressOf(given));
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

  private push(kind: Kind, array: TypedArray, length: number, out: boolean, address = 0): Slot {
    const slot = slotOf(kind, array, length, out, address);
    this.slots.push(slot);
    return slot;
  }

  private writtenLater(array: FloatArray, address: number): Slot {
    const slot = slotOf("real", array, array.length, true, address);
    this.later = [...this.later, slot];
    return slot;
  }
}

function slotOf(kind: Kind, array: TypedArray, length: number, out: boolean, address: number): Slot {
  return { kind, array, length, count: length, out, strides: undefined, shape: undefined, address };
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

function readReduction(where: string, allowed: readonly string[], value: unknown): string {
  if (!allowed.includes(value as string)) {
    fail("OPTION", where, "reduction", describe(value), allowed.map((w) => JSON.stringify(w)).join(" or "));
  }
  return value as string;
}

function readWrt(where: string, names: readonly string[], value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value))
    fail("TYPE", where, "wrt", describe(value), `an array of names from ${names.join(", ")}`);
  for (let i = 0; i < value.length; i++) {
    if (!names.includes(value[i] as string))
      fail("OPTION", where, "wrt", describe(value[i]), `one of ${names.join(", ")}`, `[${i}]`);
  }
  return value as string[];
}

function readOut(
  where: string,
  names: readonly string[],
  value: unknown,
): { value?: unknown; grads?: Record<string, unknown> } {
  if (typeof value !== "object" || value === null)
    fail("TYPE", where, "out", describe(value), "{ value, grads }");
  for (const key in value) {
    if (key !== "value" && key !== "grads")
      fail("UNKNOWN_OPTION", where, `out.${key}`, "no option", "value or grads");
  }
  const { grads } = value as { grads?: unknown };
  if (grads !== undefined) {
    if (typeof grads !== "object" || grads === null)
      fail("TYPE", where, "out.grads", describe(grads), "an object of arrays");
    for (const key in grads) {
      if (!names.includes(key))
        fail("UNKNOWN_OPTION", where, `out.grads.${key}`, "no gradient", names.join(", "));
    }
  }
  return value as { value?: unknown; grads?: Record<string, unknown> };
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
  let all = shapes?.[0] ?? call.input(0).shape;
  for (let i = 1; i < count; i++) {
    const shape = broadcastShape(all, shapes?.[i] ?? call.input(i).shape);
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
  // the slot's array is a valid view even where the core's memory has grown
  const data = call.slots[domain.slot]?.array as TypedArray;
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
    if (find(domain.kind, call.slots[domain.slot]?.length as number, at[domain.slot] as number) < 0) return;
  }
  checkDomain(call, domain);
}

/** Runs one call from the arguments to the result. */
function run(face: Face, args: readonly unknown[], gradients: boolean): unknown {
  const { definition } = face;
  const call = new Call(face, args, gradients);
  const plan = definition.family.plan(call);
  definition.check?.(call);
  const core = current(definition.family.part);
  checkViews(call, core);
  let sum =
    core === undefined || call.planned ? onJs(definition, call, plan) : onWasm(core, definition, call, plan);
  sum = definition.family.finish?.(call, plan) ?? sum;
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
function onJs(definition: Definition<unknown, unknown>, call: Call, plan: unknown): number {
  const { slots } = call;
  const at: (FloatArray | Int32Array | undefined)[] = [];
  const copies: { to: FloatArray; from: FloatArray }[] = [];
  for (const slot of slots) {
    const { array } = slot;
    if (array === undefined) at.push(undefined);
    else if (slot.out) {
      // a reference may read an input again after it has written: an output that overlaps one is written at the end
      const shared = slots.some(
        (other) => other !== slot && other.array !== undefined && overlap(array, other.array),
      );
      if (!shared) at.push(array as FloatArray);
      else {
        // of the same precision, so that it rounds alike
        const own = (array as FloatArray).slice();
        copies.push({ to: array as FloatArray, from: own });
        at.push(own);
      }
    } else if (slot.strides === undefined && typeof array[0] !== "bigint") at.push(array as FloatArray);
    else {
      const own = new Float64Array(slot.length);
      spread(own, slot);
      at.push(own);
    }
  }
  const sum = definition.family.js(definition.reference, call, plan, at);
  for (const { to, from } of copies) to.set(from);
  return sum;
}

function overlap(a: TypedArray, b: TypedArray): boolean {
  return (
    a.buffer === b.buffer &&
    a.byteOffset < b.byteOffset + b.byteLength &&
    b.byteOffset < a.byteOffset + a.byteLength
  );
}

/** Whether what slot `i` has at its address overlaps what another one has at its own. */
function overlapsInPlace(i: number, slots: readonly Slot[], at: Addresses): boolean {
  const start = at[i] as number;
  const end = start + ((slots[i] as Slot).array as TypedArray).byteLength;
  for (let k = 0; k < slots.length; k++) {
    const other = at[k] as number;
    if (
      other !== 0 &&
      k !== i &&
      other < end &&
      start < other + ((slots[k] as Slot).array as TypedArray).byteLength
    )
      return true;
  }
  return false;
}

const WIDTH: { readonly [kind in Kind]: number } = { real: 0, double: 8, int: 4, bytes: 1 };

/** Bytes that a slot takes in scratch, rounded up so that each starts at a vector's width. */
function bytesOf(slot: Slot, real: number): number {
  return Math.ceil((slot.length * (slot.kind === "real" ? real : WIDTH[slot.kind])) / 16) * 16;
}

/** Whether the kernel can use a slot's array where it stands. */
function inPlace(slot: Slot, memory: CoreMemory, dtype: DType): boolean {
  const { array, kind } = slot;
  if (array === undefined || slot.strides !== undefined || array.length === 0) return false;
  if (
    kind === "int"
      ? !(array instanceof Int32Array)
      : kind === "double" || dtype === "float64"
        ? !(array instanceof Float64Array)
        : !(array instanceof Float32Array)
  )
    return false;
  return slot.address !== 0 || memory.holds(array);
}

/** The wasm engine: arrays in the core's memory go in by address, others through scratch. */
function onWasm(core: Core, definition: Definition<unknown, unknown>, call: Call, plan: unknown): number {
  const { memory, exports } = core;
  const { slots, dtype } = call;
  const { scratch } = definition.family;
  if (scratch !== undefined) {
    const needed = scratch(exports, call, plan);
    // 32 bits of the core's are a signed number here
    call.work(needed < 0 ? needed + 2 ** 32 : needed);
  }
  const real = dtype === "float32" ? 4 : 8;
  const at: number[] = [];
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as Slot;
    at.push(
      slot !== ABSENT && inPlace(slot, memory, dtype)
        ? slot.address || (slot.array as TypedArray).byteOffset
        : 0,
    );
  }
  // what is written must overlap nothing else: else it goes through scratch as well
  let moved = NONE;
  for (let i = 0; i < slots.length; i++) {
    if (at[i] !== 0 && (slots[i] as Slot).out && overlapsInPlace(i, slots, at)) moved = [...moved, i];
  }
  for (const i of moved) at[i] = 0;
  let bytes = 0;
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as Slot;
    if (slot !== ABSENT && at[i] === 0) bytes += bytesOf(slot, real);
  }
  if (bytes > PIECE * real && canGoInPieces(definition, call, plan))
    return inPieces(core, definition, call, plan, at, real);
  const start = bytes === 0 ? 0 : enter(memory, bytes, call);
  try {
    let next = start;
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      if (at[i] !== 0 || slot.length === 0) continue;
      at[i] = next;
      next += bytesOf(slot, real);
      if (slot.array !== undefined && !slot.out) copyIn(memory, at[i] as number, slot, real);
    }
    const sum = definition.family.wasm(exports, call, plan, at);
    for (let i = 0; i < slots.length && bytes > 0; i++) {
      const slot = slots[i] as Slot;
      if (slot.out && (at[i] as number) >= start && (at[i] as number) < start + bytes)
        copyOut(memory, at[i] as number, slot, real);
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
function canGoInPieces(definition: Definition<unknown, unknown>, call: Call, plan: unknown): boolean {
  if (definition.family.piece?.(plan, PIECE) === undefined) return false;
  const present = call.slots.filter((slot) => slot !== ABSENT);
  const isApart = (slot: Slot): boolean =>
    !present.some((other) => other !== slot && overlap(slot.array as TypedArray, other.array as TypedArray));
  const { length } = present[0] as Slot;
  return present.every(
    (slot) => slot.length === length && slot.strides === undefined && (!slot.out || isApart(slot)),
  );
}

/** The wasm engine on long arrays: see {@link Family.piece}. `at` are the addresses of those that stay in place. */
function inPieces(
  core: Core,
  definition: Definition<unknown, unknown>,
  call: Call,
  plan: unknown,
  at: Addresses,
  real: number,
): number {
  const { memory, exports } = core;
  const { slots } = call;
  const { family } = definition;
  const copied = slots.flatMap((slot, i) => (slot !== ABSENT && at[i] === 0 ? [i] : []));
  const bytes = copied.length * PIECE * real;
  const start = enter(memory, bytes, call);
  try {
    const { length } = slots[copied[0] as number] as Slot;
    let sum = 0;
    for (let first = 0; first < length; first += PIECE) {
      const count = Math.min(PIECE, length - first);
      const here = at.map((address) => (address === 0 ? 0 : address + first * real));
      const pieces = copied.map((i, k) => {
        const slot = slots[i] as Slot;
        here[i] = start + k * PIECE * real;
        return {
          ...slot,
          array: (slot.array as FloatArray).subarray(first, first + count),
          length: count,
          address: here[i] as number,
        };
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
function enter(memory: CoreMemory, bytes: number, { slots, later }: Call): number {
  const all = later.length === 0 ? slots : [...slots, ...later];
  const offsets = all.map(({ array }) =>
    array !== undefined && memory.holds(array) ? array.byteOffset : -1,
  );
  const before = memory.buffer;
  const start = memory.enter(bytes);
  if (memory.buffer !== before) {
    all.forEach((slot, i) => {
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
function checkViews(call: Call, core: Core | undefined): void {
  for (const slots of [call.slots, call.later]) {
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as Slot;
      if (slot.array === undefined || slot.array.length === slot.count) continue;
      if (core !== undefined && slot.address !== 0) viewAnew(core.memory, slot, slot.address);
      else {
        const expected = "an array on a fixed, attached ArrayBuffer";
        fail("BUFFER", call.where, "an argument", "an array whose buffer was detached meanwhile", expected);
      }
    }
  }
}

function copyIn(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { array, length } = slot;
  const whole =
    slot.kind === "int" ? memory.i32 : slot.kind === "double" || real === 8 ? memory.f64 : memory.f32;
  const first = address / whole.BYTES_PER_ELEMENT;
  if (slot.strides === undefined && length <= 64 && typeof (array as TypedArray)[0] !== "bigint") {
    // a loop is cheaper than the call of set() up to here
    for (let i = 0; i < length; i++) whole[first + i] = (array as FloatArray)[i] as number;
  } else if (slot.strides === undefined && typeof (array as TypedArray)[0] !== "bigint")
    whole.set(array as FloatArray, first);
  else spread(whole.subarray(first, first + length), slot);
}

function copyOut(memory: CoreMemory, address: number, slot: Slot, real: number): void {
  const { length } = slot;
  const to = slot.array as FloatArray;
  const whole =
    slot.kind === "int" ? memory.i32 : slot.kind === "double" || real === 8 ? memory.f64 : memory.f32;
  const first = address / whole.BYTES_PER_ELEMENT;
  if (length <= 64) for (let i = 0; i < length; i++) to[i] = whole[first + i] as number;
  else to.set(whole.subarray(first, first + length));
}

/** Makes the two faces of a loss. */
export function define<P, R, T>(definition: Definition<P, R>): T {
  const own = definition as unknown as Definition<unknown, unknown>;
  const common = own.plain === true ? COMMON_PLAIN : own.mapping === true ? COMMON_MAPPING : COMMON;
  const table: OptionTable = { ...common, ...own.options };
  const face: Face = {
    definition: own,
    table,
    defaults: defaultsOf(table),
    reductions: ["none", "mean", "sum", ...(own.reductions ?? [])],
    differentiable: own.inputs.filter((input) => input.differentiable === true).map((input) => input.name),
  };
  const value = (...args: unknown[]): unknown => run(face, args, false);
  const valueAndGrad = (...args: unknown[]): unknown => run(face, args, true);
  return Object.assign(named(value, own.name), {
    valueAndGrad: named(valueAndGrad, `${own.name}.valueAndGrad`),
  }) as unknown as T;
}

function named<F extends object>(f: F, name: string): F {
  return Object.defineProperty(f, "name", { value: name });
}
