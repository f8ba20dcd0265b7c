/** What every error of this library carries beside its message. */
export interface Details {
  /** Stable, for programs: see the README's list. */
  readonly code: Code;
  /** The argument or option that is wrong, e.g. `"targets"`. */
  readonly argument: string;
  /** What would have been right. */
  readonly expected: string;
  /** What came in, in words. */
  readonly received: string;
}

/** The codes of {@link Details}. */
export type Code =
  | "ARGUMENT_COUNT"
  | "BUFFER"
  | "DISPOSED"
  | "ENGINE"
  | "LABEL"
  | "LENGTH"
  | "NUMBER"
  | "OPTION"
  | "OUT_OF_MEMORY"
  | "RANGE"
  | "RANK"
  | "SHAPE"
  | "TYPE"
  | "UNKNOWN_OPTION";

/** Codes that say that a thing is of the wrong kind; the others say that its value is out of range. */
const KINDS: ReadonlySet<Code> = new Set([
  "ARGUMENT_COUNT",
  "BUFFER",
  "DISPOSED",
  "TYPE",
  "OPTION",
  "UNKNOWN_OPTION",
]);

/**
 * Throws the one form of error there is: `<where>: <argument><place> is <received>, expected <expected>`.
 * A TypeError where something is of the wrong kind, a RangeError where its value is.
 */
export function fail(
  code: Code,
  where: string,
  argument: string,
  received: string,
  expected: string,
  place = "",
): never {
  const message = `${where}: ${argument}${place} is ${received}, expected ${expected}`;
  const error = KINDS.has(code) ? new TypeError(message) : new RangeError(message);
  throw Object.assign(error, { code, argument, expected, received } satisfies Details);
}

/** Refuses what is of the wrong kind. */
export function wrongType(
  where: string,
  argument: string,
  received: unknown,
  expected: string,
  place?: string,
): never {
  fail("TYPE", where, argument, describe(received), expected, place);
}

/** Refuses an array by its shape; its rank alone, with the code `RANK`. */
export function wrongShape(
  where: string,
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
  expected: string,
  code: "SHAPE" | "RANK" = "SHAPE",
): never {
  fail(code, where, name, `of shape ${shapeText(shape)}`, expected);
}

/** Refuses what is none of some words. */
export function checkChoice(where: string, name: string, value: unknown, words: readonly unknown[]): void {
  if (!words.includes(value)) fail("OPTION", where, name, describe(value), quoted(words));
}

/** `an array of 3`, for a message. */
export function arrayOf(length: number): string {
  return `an array of ${length}`;
}

/** `"mean" or "sum"`, for a message. */
export function quoted(words: readonly unknown[]): string {
  return words.map((word) => JSON.stringify(word)).join(" or ");
}

/** A value in a few words for a message. */
export function describe(value: unknown): string {
  if (typeof value === "string")
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return arrayOf(value.length);
  if (ArrayBuffer.isView(value))
    return `a ${tag(value)} of ${"length" in value ? value.length : value.byteLength}`;
  if (typeof value === "object" && value !== null) return "an object";
  return String(value);
}

/** Whether a value is an object with properties of its own, no array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** `[2, 3]` for a message. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/** What tells a typed array's class whatever the array says of itself: a subclass may have a name of its own. */
const classOf = /* @__PURE__ */ Object.getOwnPropertyDescriptor(
  /* @__PURE__ */ Object.getPrototypeOf(Int8Array.prototype),
  Symbol.toStringTag,
)?.get as () => string | undefined;

/** The class of a view or a buffer, in whichever realm it was made. */
export function tag(of: ArrayBufferView | ArrayBufferLike): string {
  return classOf.call(of) ?? (of as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "DataView";
}
