/** Reading options: one small function per kind, and a table of them per loss. */
import { checkChoice, fail, isRecord, wrongType } from "./errors.js";
import { type Operand, readOperand } from "./input.js";

/** Checks one option and gives what the loss computes with. */
export type Reader<T> = (where: string, name: string, value: unknown) => T;

/** An option: what it is when it is not given, and how it is read. */
export interface Option<T> {
  readonly fallback: T;
  readonly read: Reader<T>;
  /** Of an option that is one of some words: these. */
  readonly words?: readonly unknown[];
}

/** A number; `least` and `most` are allowed themselves, `above` is not. NaN is refused. */
export function number<F extends number | undefined>(
  fallback: F,
  limits: { least?: number; above?: number; most?: number; integer?: boolean } = {},
): Option<F | number> {
  const { least = -Infinity, above, most = Infinity, integer = false } = limits;
  const words = [integer ? "a whole number" : "a number"];
  if (least > -Infinity) words.push(`from ${least} on`);
  if (above !== undefined) words.push(`above ${above}`);
  if (most < Infinity) words.push(`up to ${most}`);
  const expected = words.join(" ");
  return {
    fallback,
    read(where, name, value) {
      if (typeof value !== "number") wrongType(where, name, value, expected);
      // NaN is not inside
      const inside = value >= least && value <= most && !(above !== undefined && value <= above);
      if (!inside || (integer && !Number.isInteger(value)))
        fail("NUMBER", where, name, String(value), expected);
      return value;
    },
  };
}

/** A value of one type of JavaScript's. */
function ofType<T>(type: "boolean" | "function", fallback: T, expected: string): Option<T> {
  return {
    fallback,
    read(where, name, value) {
      if (typeof value !== type) wrongType(where, name, value, expected);
      return value as T;
    },
  };
}

/** true or false. */
export function flag(fallback: boolean): Option<boolean> {
  return ofType("boolean", fallback, "true or false");
}

/** A function, or nothing. */
export function callback<F>(): Option<F | undefined> {
  return ofType<F | undefined>("function", undefined, "a function");
}

/** One of some words. */
export function choice<W>(fallback: W, words: readonly W[]): Option<W> {
  return {
    fallback,
    words,
    read(where, name, value) {
      checkChoice(where, name, value, words);
      return value as W;
    },
  };
}

/** An option as a kernel takes it: a word by its place; 0 where there is no such option, or a function in the place of a number. */
export function numberOf(option: Option<unknown> | undefined, value: unknown): number {
  if (typeof value === "string") return option?.words?.indexOf(value) ?? 0;
  return typeof value === "function" ? 0 : Number(value ?? 0);
}

/** Numbers in any of the forms that inputs have, or nothing. */
export function array(): Option<Operand | undefined> {
  return { fallback: undefined, read: readOperand };
}

/** Anything: the loss looks at it itself. */
export function anything(): Option<unknown> {
  return { fallback: undefined, read: (_where, _name, value) => value };
}

/** A table of options. */
export type OptionTable = { readonly [name: string]: Option<unknown> };
/** What reading a table gives. */
export type OptionValues<T extends OptionTable> = {
  [K in keyof T]: T[K] extends Option<infer V> ? V : never;
};

/** What each option of a table is when it is not given. */
export function defaultsOf<T extends OptionTable>(table: T): OptionValues<T> {
  const values: Record<string, unknown> = {};
  for (const name in table) values[name] = (table[name] as Option<unknown>).fallback;
  return values as OptionValues<T>;
}

/** The options that the driver itself knows. */
export const COMMON = {
  reduction: /* @__PURE__ */ anything(),
  upstream: /* @__PURE__ */ anything(),
  wrt: /* @__PURE__ */ anything(),
  out: /* @__PURE__ */ anything(),
};
/** What was given for each of them. */
export type Common = { [name in keyof typeof COMMON]: unknown };

/**
 * Reads options against a table: unknown names are refused, with the nearest known one; missing ones get their default. Those of
 * {@link COMMON} go to `common`.
 */
export function readOptions<T extends OptionTable>(
  where: string,
  table: T,
  given: unknown,
  defaults: OptionValues<T> = defaultsOf(table),
  common?: Common,
): OptionValues<T> {
  if (given === undefined) return defaults;
  if (!isRecord(given)) wrongType(where, "options", given, "an object");
  let none = true;
  let values: Record<string, unknown> = defaults;
  for (const name in given) {
    none = false;
    const value = given[name];
    const option = table[name];
    // what an object has of its own accord (toString) is no option
    if (option?.read === undefined) unknown(where, name, Object.keys(table));
    if (value === undefined) continue;
    if (option === COMMON.out) (common as Common).out = value;
    else if (option === COMMON.wrt) (common as Common).wrt = value;
    else if (option === COMMON.reduction) (common as Common).reduction = value;
    else if (option === COMMON.upstream) (common as Common).upstream = value;
    else {
      if (values === defaults) values = { ...defaults };
      values[name] = option.read(where, name, value);
    }
  }
  // a map has no properties, and what it holds would be passed over
  if (none && Symbol.iterator in given) fail("TYPE", where, "options", "a collection", "an object");
  return values as OptionValues<T>;
}

/** Refuses a name, with the nearest known one where that is near. */
export function unknown(where: string, name: string, known: readonly string[], place = ""): never {
  const word = name.toLowerCase();
  const nearest = [0, 1, 2].flatMap((n) => known.filter((other) => isNear(word, other.toLowerCase(), n)));
  const hint = nearest.length === 0 ? "" : `; did you mean ${nearest[0]}?`;
  return fail("UNKNOWN_OPTION", where, place + name, "no option", `one of ${known.join(", ")}${hint}`);
}

/** Whether no more than n letters put in, taken out or changed make b of a. */
function isNear(a: string, b: string, n: number): boolean {
  if (n < 0 || a === b) return n >= 0;
  const [restA, restB] = [a.slice(1), b.slice(1)];
  if (a[0] === b[0]) return isNear(restA, restB, n);
  return isNear(a, restB, n - 1) || isNear(restA, b, n - 1) || isNear(restA, restB, n - 1);
}
