/** Drawing arguments for a row of the registry: shapes, numbers (hostile ones among them) and options. */
import type { Domain, Row } from "../../ts/registry.js";
import type { TypedArray } from "../../ts/types.js";

/** A stream of numbers in [0, 1), the same for the same seed (mulberry32). */
export function randomStream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A call of a function of the registry. */
export interface Sample {
  readonly args: readonly unknown[];
  readonly options: Record<string, unknown>;
  /** Among the inputs are numbers that are not finite or so large that single precision overflows where double does not. */
  readonly hostile: boolean;
}

export interface Wishes {
  readonly seed: number;
  readonly dtype: "float32" | "float64";
  /** Lengths of the axes are drawn up to this. */
  readonly size: number;
  /** Whether NaN, infinities, subnormal and huge numbers are mixed in. */
  readonly hostile?: boolean;
}

/** A sum over steps with 1e30 among them leaves no digit of the others, in any precision: sequences get this instead. */
const LARGE = 1e5;
/**
 * A vector of no length has no direction: its gradient is what rounding leaves of a sum that is 0, or of a hinge at its kink, over the
 * 1e-12 or 1e-8 that stands for its norm. Where directions alone count, hostile numbers are no smaller than this; there are tests of
 * their own for vectors of 0.
 */
const SHORT = 1e-3;
const DIRECTIONS = ["infoNceLoss", "supervisedContrastiveLoss", "tripletMarginWithDistanceLoss"];
const HOSTILE = [Number.NaN, Infinity, -Infinity, 0, -0, 1e-45, -1e-45, 1e30, -1e30, 88.8, -104, 1e-30];

export function sample(row: Row, { seed, dtype, size, hostile = false }: Wishes): Sample {
  const random = randomStream(seed);
  const whole = (n: number): number => Math.floor(random() * n);
  const real = (): number => {
    if (hostile && random() < 0.08) {
      const x = HOSTILE[whole(HOSTILE.length)] as number;
      if (DIRECTIONS.includes(row.name) && Math.abs(x) < SHORT) return SHORT;
      return row.layout === "sequences" && Math.abs(x) === 1e30 ? Math.sign(x) * LARGE : x;
    }
    // three uniform numbers make a bell that is good enough, with a wide scale now and then
    const bell = (random() + random() + random() - 1.5) * 2;
    return random() < 0.1 ? bell * 20 : bell;
  };
  const floats = (n: number, f: () => number): Float32Array | Float64Array => {
    const a = dtype === "float32" ? new Float32Array(n) : new Float64Array(n);
    for (let i = 0; i < n; i++) a[i] = f();
    return a;
  };
  const drawn = 1 + whole(2);
  const rank = row.layout === "sets" ? 2 : drawn;
  const columns = 1 + whole(size);
  const samples = rank === 1 ? 1 : whole(Math.max(2, Math.ceil(size / 4)));
  const behind =
    rank === 2 && row.layout === "positions"
      ? Array.from({ length: whole(3) }, () => 1 + whole(Math.min(size, 6)))
      : [];
  const rows = behind.reduce((a, b) => a * b, samples);
  const many = row.layout === "elements" ? whole(size + 1) : rows * columns;
  const shape = row.layout === "elements" ? [many] : rank === 1 ? [columns] : [samples, columns, ...behind];
  const leading = behind.length === 0 ? shape.slice(0, -1) : [samples, ...behind];
  const ints = (n: number, f: (i: number) => number): Int32Array =>
    Int32Array.from({ length: n }, (_, i) => f(i));
  const draw = (domain: Domain, dims: readonly number[]): unknown => {
    const n = dims.reduce((a, b) => a * b, 1);
    const t = (data: TypedArray) => ({ data, shape: dims });
    switch (domain) {
      case "real":
        return t(floats(n, real));
      case "probability":
        return t(floats(n, () => (random() < 0.1 ? whole(2) : random())));
      case "positive":
        return t(floats(n, () => 0.05 + 3.95 * random()));
      case "sign":
        return t(floats(n, () => (random() < 0.5 ? -1 : 1)));
      case "binary":
        return t(floats(n, () => whole(2)));
      case "log-probability":
        return t(floats(n, () => Math.log(1e-6 + random())));
      case "count":
        return t(floats(n, () => whole(6)));
      case "group":
        return t(ints(n, () => whole(4)));
      case "class":
      case "class set":
      case "sequence":
        throw new Error(`${domain} depends on the layout`);
    }
  };
  const options: Record<string, unknown> = {};
  const args: unknown[] = [];
  if (row.layout === "sequences") {
    const classes = 2 + whole(Math.min(8, size));
    const batch = whole(4);
    const steps = whole(Math.ceil(size / 4) + 2);
    const blank = whole(classes);
    const targets = Array.from({ length: batch }, () =>
      Array.from({ length: whole(Math.max(1, Math.ceil(steps / 2)) + 1) }, () => {
        const label = whole(classes - 1);
        return label >= blank ? label + 1 : label;
      }),
    );
    const tnc = random() < 0.5;
    const dims = tnc ? [steps, batch, classes] : [batch, steps, classes];
    args.push({ data: floats(steps * batch * classes, real), shape: dims }, targets);
    Object.assign(options, {
      blank,
      layout: tnc ? "TNC" : "NTC",
      inputLengths: targets.map(() => whole(steps + 1)),
    });
  } else {
    for (const name in row.inputs) {
      const domain = row.inputs[name] as Domain;
      if (domain === "class") {
        args.push({ data: ints(leading.length === 0 ? 1 : rows, () => whole(columns)), shape: leading });
      } else if (domain === "class set") {
        const sets = ints(many, () => (random() < 0.4 ? -1 : whole(columns)));
        args.push({ data: sets, shape });
      } else if (name === "x2" && row.layout === "sets")
        args.push(draw(domain, [whole(Math.max(2, size / 3)), columns]));
      else
        args.push(
          draw(
            domain,
            name === "target" && row.layout === "vectors" ? leading : domain === "group" ? leading : shape,
          ),
        );
    }
  }
  for (const name in row.options) {
    if (random() < 0.5) continue;
    const choice = row.options[name] as Row["options"][string];
    if (!("domain" in choice)) options[name] = choice[whole(choice.length)];
    else if (choice.per === "element") options[name] = draw(choice.domain, shape);
    else options[name] = draw(choice.domain, choice.per === "column" ? [columns] : leading);
  }
  const dims = args.map((a) => a as { data?: { some?(f: (x: number) => boolean): boolean } });
  const unusual = dims.some(
    ({ data }) => data?.some?.((x) => !Number.isFinite(x) || Math.abs(x) > 80) ?? false,
  );
  return { args, options, hostile: unusual };
}

/** The reductions of a row, and a matching upstream gradient now and then. */
export function withReduction(row: Row, s: Sample, seed: number): Record<string, unknown> {
  const random = randomStream(seed ^ 0x5bd1e995);
  if (row.kind === "mapping") return { ...s.options, upstream: random() < 0.5 ? 1 : 0.5 + random() };
  const reductions = ["none", "mean", "sum", ...(row.reductions ?? [])];
  const reduction = reductions[Math.floor(random() * reductions.length)];
  const upstream = random() < 0.5 ? {} : { upstream: 4 * random() - 2 };
  return { ...s.options, reduction, ...upstream };
}
