/**
 * The one driver that every loss goes through: check, promote, view, call, reduce.
 *
 * A loss is a {@link Definition}: its inputs and options, and a family ({@link Family}) that knows how its arrays are laid out.
 * The driver reads the arguments, lets the family check shapes and name the arrays that the kernel needs (call.ts), lets the core run it
 * (core.ts, behind the family's door) or else the reference, and hands back what came out. Nothing that belongs to the
 * user is read after the check has begun to place arrays, and nothing of it is written before every check has passed.
 */
import {
  Asked,
  Call,
  checkAttached,
  checkDomain,
  type Declaration,
  type Door,
  type Gradient,
  isEmpty,
  NOTHING_WANTED,
  NOWHERE,
  overlap,
  Signature,
  spread,
} from "./call.js";
import { describe, fail } from "./errors.js";
import { giveBack, isTyped, made, type Operand, walk } from "./input.js";
import type { FloatArray, Tensor } from "./types.js";

export type { Call, Domain, InputRow } from "./call.js";
export { broadcastInputs, isWhole, numbersOf, raggedRows, readLabels, sameRank, spread } from "./call.js";

/** How a family of losses lays out its arrays, and how it is called. `P` is what the family keeps for a call, `R` its references. */
export interface Family<P, R> {
  /** How its losses run on the core. */
  readonly door: Door<P> | undefined;
  /** Checks shapes, names the slots in the order of the door's arguments, says what the reduction divides by. */
  plan(call: Call): P;
  /** Calls the reference, where there is more to it than to hand it the plan and the arrays of the slots, in their order. */
  readonly js?: ((reference: R, plan: P & Common, arrays: never) => number) | undefined;
  /** Looks at what came back before the losses are reduced: a divisor that only the kernel knows, extras. */
  readonly finish?: ((call: Call, plan: P) => void) | undefined;
}

/** What a reference takes in every family. */
interface Common {
  /** A factor of all gradients. */
  readonly scale: number;
  /** The options as numbers, in the order of the kernel's. */
  readonly parameters: readonly number[];
}

/** A loss, or a function that is none. */
export interface Definition<P, R> extends Declaration {
  readonly family: Family<P, R>;
  /** The loss in plain TypeScript. */
  readonly reference: R;
}

function plainly(reference: unknown, plan: unknown, arrays: unknown): number {
  return (reference as (plan: unknown, arrays: unknown) => number)(plan, arrays);
}

/** A definition, in one form for all losses. */
interface Face {
  readonly signature: Signature;
  readonly door: Door<unknown> | undefined;
  readonly plan: (call: Call) => unknown;
  readonly js: (reference: unknown, plan: unknown, arrays: unknown) => number;
  readonly finish: ((call: Call, plan: unknown) => void) | undefined;
  readonly reference: unknown;
}

function faceOf(definition: Definition<unknown, unknown>): Face {
  const { family, reference } = definition;
  const { door, plan, js = plainly, finish } = family as Family<unknown, unknown>;
  const signature = new Signature(definition, door?.numbers[definition.name] ?? 0);
  return { signature, door, plan, js: js as Face["js"], finish, reference };
}

/** Refuses names in `wrt` of what has no gradient: in no call, or in this one, as classes where there could have been probabilities. */
function checkWrt({ name, differentiable }: Signature, { wrt = NOTHING_WANTED, grads }: Call): void {
  wrt.forEach((wanted, i) => {
    if (grads.some((gradient) => gradient.name === wanted)) return;
    const others = differentiable.filter((other) => other !== wanted).join(", ");
    const received =
      describe(wanted) + (differentiable.includes(wanted) ? ", which has no gradient here" : "");
    fail("OPTION", name, "wrt", received, `one of ${others}`, `[${i}]`);
  });
}

/** Runs one call from the arguments to the result. */
function run(face: Face, args: readonly unknown[], gradients: boolean): unknown {
  const { signature, door, finish } = face;
  const call = new Call(signature, args, gradients);
  const plan = face.plan(call);
  if (call.wrt !== undefined && call.wrt.length !== call.grads.length) checkWrt(signature, call);
  let sum: number | undefined;
  // where all arrays are empty there is nothing to do, however long their other axes are
  if (call.planned) sum = onJs(face, call, plan);
  else if (!call.slots.every(isEmpty)) sum = door?.run(call, plan) ?? onJs(face, call, plan);
  finish?.(call, plan);
  const { inputs } = call;
  for (let i = 0; i < inputs.length; i++)
    if (inputs[i]?.lent === true) giveBack((inputs[i] as Operand).data as Float64Array);
  const written = call.values?.array as FloatArray;
  let value: unknown;
  if (call.reduction === "none") value = handBack(call.out.value, written, call.lossShape);
  else {
    value = (sum ?? 0) / call.divisor;
    if (written !== undefined) written[0] = value as number;
  }
  if (!gradients) return value;
  const grads: Record<string, Tensor> = {};
  for (const { name, given, slot, end, shape, wide } of call.grads) {
    const data = end.array as FloatArray;
    if (wide !== undefined) gather(data, slot.array as FloatArray, wide);
    grads[name] = handBack(given, data, shape);
  }
  return call.extras === undefined ? { value, grads } : { value, grads, ...call.extras };
}

/** A tensor that the user gave comes back itself; an array gets its shape. */
function handBack(given: unknown, data: FloatArray, shape: readonly number[]): Tensor {
  const tensor = given instanceof Asked ? given.tensor : given;
  if (tensor === undefined) return { data, shape };
  if (!isTyped(tensor)) return tensor as Tensor;
  // the array itself, unless it is a view that growth has detached
  return { data: tensor.length === data.length ? (tensor as FloatArray) : data, shape };
}

/** Adds up what came out per broadcast element, in double precision. */
function gather(data: FloatArray, from: FloatArray, wide: NonNullable<Gradient["wide"]>): void {
  const sums = new Float64Array(data.length);
  walk(wide, (i, j, count, step) => {
    for (let k = 0; k < count; k++)
      sums[j + k * step] = (sums[j + k * step] as number) + (from[i + k] as number);
  });
  data.set(sums);
}

/** The js engine reads and writes the user's arrays themselves: numbers are doubles as soon as they are read. */
function onJs({ js, reference }: Face, call: Call, plan: unknown): number {
  const { slots } = call;
  const arrays: (FloatArray | Int32Array | undefined)[] = [];
  const copies: { to: FloatArray; from: FloatArray }[] = [];
  for (const slot of slots) {
    checkAttached(slot, call.where);
    const { out, place, wide } = slot;
    if (place === NOWHERE) continue;
    const array = slot.array as FloatArray;
    let own = array;
    // a reference may read an input again after it has written: an output that overlaps one is written at the end
    if (out && slots.some((other) => other !== slot && overlap(slot, other))) {
      // of the same precision, so that it rounds alike
      own = own.BYTES_PER_ELEMENT === 4 ? new Float32Array(own) : new Float64Array(own);
      copies.push({ to: array, from: own });
    } else if (wide !== undefined || typeof array[0] === "bigint") {
      own = made(call.where, Float64Array, slot.length);
      spread(own, slot);
    }
    arrays[place] = own;
  }
  checkDomain(call);
  const { scale, parameters } = call;
  const given = { scale, parameters, ...(plan as object) };
  const sum = js(reference, given, arrays);
  for (const { to, from } of copies) to.set(from);
  return sum;
}

/** Makes the two faces of a loss. */
export function define<P, R, T>(definition: Definition<P, R>): T {
  const { name } = definition;
  let known: Face | undefined;
  // at the first call: a program that starts has better things to do
  const face = (): Face => {
    known ??= faceOf(definition as unknown as Definition<unknown, unknown>);
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
