/** Calls that run code of the caller's, which does whatever it likes; and the functions that are no losses. */
import type { AllocatedTensor, FloatArray } from "../../ts/index.js";
import { agree } from "../support/agree.js";
import { expectSameBits } from "../support/close.js";
import { argument, type call, type Outcome, outcome } from "./program.js";
import type { Dice, World } from "./world.js";

/** What a callback throws to see it come out again. */
class Mine extends Error {}

/** What a callback has done while the call was under way. */
class Mischief {
  private readonly kept: { tensor: AllocatedTensor; fill: number }[] = [];
  /** Whether the answer may come from either engine. */
  engine = false;
  /** Whether views that the caller holds are lost, or tensors are gone. */
  spoilt = false;
  thrown: Mine | undefined;
  private left = 6;

  constructor(
    private readonly world: World,
    private readonly dice: Dice,
    private readonly again: typeof call,
    /** What the call was given views of: to give that back meanwhile is to hand the numbers to somebody else. */
    private readonly viewed: ReadonlySet<unknown>,
  ) {}

  /** Now and then does something. */
  now(): void {
    const { world, dice } = this;
    if (this.left === 0 || !dice.chance(0.3)) return;
    this.left -= 1;
    switch (dice.below(7)) {
      case 0: {
        const { total } = world.library.engine().memory;
        world.grow(dice);
        this.spoilt ||= world.library.engine().memory.total !== total;
        break;
      }
      case 1:
      case 2: {
        const { total } = world.library.engine().memory;
        const tensor = world.library.allocate([1 + dice.below(60)], dice.pick(["float32", "float64"]));
        this.spoilt ||= world.library.engine().memory.total !== total;
        const fill = 1 + dice.below(100);
        tensor.data.fill(fill);
        this.kept.push({ tensor, fill });
        break;
      }
      case 3:
        this.drop();
        break;
      case 4: {
        const { total } = world.library.engine().memory;
        const tensors = [...world.tensors];
        if (tensors.length > 4) break;
        this.again(world, dice, dice.pick(["call", "wrong"]), true);
        this.spoilt ||= world.library.engine().memory.total !== total || tensors.some((t) => t.disposed);
        break;
      }
      case 5:
        world.choose(dice.pick(["wasm", "js", "auto"]));
        this.engine = true;
        break;
      default:
        if (dice.chance(0.2)) {
          this.thrown = new Mine("of the callback's own");
          throw this.thrown;
        }
    }
  }

  private drop(): void {
    const { world, dice } = this;
    const i = dice.below(world.tensors.length);
    if (i >= world.tensors.length || this.viewed.has(world.tensors[i])) return;
    world.drop(i);
    this.spoilt = true;
  }

  /** What it has allocated is as it left it. */
  end(): void {
    for (const { tensor, fill } of this.kept) {
      const { data } = tensor;
      if (data.some((x) => x !== fill))
        throw new Error(`a tensor of a callback's holds ${data.join()}, not ${fill}`);
      tensor.dispose();
    }
  }
}

/** Numbers in everyday range, in places that may lie over each other. */
function numbers(world: World, dice: Dice, shapes: readonly (readonly number[])[]) {
  const dtype = dice.pick(["float32", "float64"] as const);
  const placed = shapes.map((shape) => {
    const place = dice.chance(0.7) ? world.fresh(dice, shape, dtype) : world.place(dice, shape, dtype);
    return { place, shape };
  });
  if (placed.some(({ place }) => !world.isThere(place))) return undefined;
  for (const { place } of placed) {
    const view = world.view(place);
    for (let i = 0; i < view.length; i++) view[i] = dice.below(1000) / 250 - 2;
  }
  const plain = placed.map(({ place, shape }) => ({ data: world.view(place).slice(), shape }));
  const tidy = plain.every(({ data }) =>
    data.every((x) => Math.abs(x) <= 2 && (x === 0 || Math.abs(x) > 1e-4)),
  );
  return { dtype, placed, plain, tidy };
}

/** The loss of a distance of one's own, of a margin of one's own, or with getters among its options. */
export function callWithCallback(world: World, dice: Dice, again: typeof call): void {
  const { tripletMarginLoss, tripletMarginWithDistanceLoss, ctcLoss } = world.library;
  const { contrastiveLoss } = world.library.energy;
  const [n, k] = [1 + dice.below(5), 1 + dice.below(12)];
  const shapes = {
    triplet: [
      [n, k],
      [n, k],
      [n, k],
    ],
    rows: [[n, k]],
    steps: [[n, k + 1, 3]],
  };
  const kind = dice.pick(["triplet", "margin", "getters", "targets"] as const);
  const drawn = numbers(
    world,
    dice,
    kind === "triplet" || kind === "getters"
      ? shapes.triplet
      : kind === "targets"
        ? shapes.steps
        : shapes.rows,
  );
  if (drawn === undefined) return;
  const { placed, plain } = drawn;
  const labels = Int32Array.from({ length: n }, () => dice.below(k));
  const reduction = dice.pick(["mean", "sum", "none"]);
  /** The call; `now` is what its callbacks do beside answering. */
  const run = (args: readonly unknown[], out: () => object | undefined, now: () => void): unknown => {
    const getter = <T>(give: () => T) => ({
      get: () => {
        now();
        return give();
      },
      enumerable: true,
    });
    if (kind === "triplet") {
      const distance = (x: Float64Array, y: Float64Array) => {
        now();
        const gradX = x.map((xi, i) => xi - (y[i] as number));
        return { value: gradX.reduce((sum, d) => sum + (d * d) / 2, 0), gradX, gradY: gradX.map((d) => -d) };
      };
      const [a, b, c] = args as [never, never, never];
      return tripletMarginWithDistanceLoss.valueAndGrad(a, b, c, {
        distance,
        reduction,
        out: out(),
      } as object);
    }
    if (kind === "margin") {
      const margin = (y: number, answer: number): number => {
        now();
        return Math.abs(y - answer) / 2;
      };
      const options = dice.chance(0.5) ? { margin } : { marginMatrix: margin };
      return contrastiveLoss.valueAndGrad(args[0] as never, labels, {
        ...options,
        reduction,
        out: out(),
      } as object);
    }
    if (kind === "targets") {
      const target = Object.defineProperty(
        [1, 2].slice(0, 1 + (k % 2)),
        0,
        getter(() => 1),
      );
      const targets = Array.from({ length: n }, () => target);
      return ctcLoss.valueAndGrad(args[0] as never, targets, { reduction, out: out() } as object);
    }
    const lazy = Object.defineProperties(
      {},
      { reduction: getter(() => reduction), out: getter(() => lazyOut(out(), getter)) },
    );
    return tripletMarginLoss.valueAndGrad(args[0] as never, args[1] as never, args[2] as never, lazy);
  };
  const expected = {
    js: outcome(() =>
      world.on("js", () =>
        run(
          plain,
          () => undefined,
          () => {},
        ),
      ),
    ),
    wasm: outcome(() =>
      world.on("wasm", () =>
        run(
          plain,
          () => undefined,
          () => {},
        ),
      ),
    ),
  };
  const first = expected[world.engine];
  if (first.error !== undefined) {
    if (drawn.tidy) throw new Error(`${kind}: ${first.error.message}`);
    return;
  }
  const results = resultsOf(first);
  const outs = Object.entries(results)
    .filter(() => dice.chance(0.6))
    .map(([name, { shape }]) => {
      const onInput = dice.chance(0.3) ? placed.find((p) => p.shape.join() === shape.join()) : undefined;
      return { name, shape, place: onInput?.place ?? world.fresh(dice, shape, drawn.dtype) };
    });
  if ([...placed, ...outs].some(({ place }) => !world.isThere(place))) return;
  const before = world.snapshot([...placed, ...outs].map(({ place }) => place));
  const owners = [...placed, ...outs].map(({ place }) => place.owner);
  const forms = [...placed, ...outs].map(() => dice.below(7));
  const args = placed.map((p, i) => argument(world, p, forms[i] as number));
  const isWhole = (x: unknown): boolean => owners.includes(x as never);
  const out = () =>
    outs.length === 0
      ? undefined
      : Object.fromEntries(
          outs.map((o, i) => [o.name, argument(world, o, forms[placed.length + i] as number)]),
        );
  const written = out();
  const { value, ...grads } = written ?? {};
  const given = written === undefined ? undefined : { value, grads };
  const handed = [...args, ...Object.values(written ?? {})];
  const viewed = new Set(owners.filter((_, i) => !isWhole(handed[i])));
  const mischief = new Mischief(world, dice, again, viewed);
  let mine: unknown;
  const actual = outcome(() => {
    try {
      return run(
        args,
        () => given,
        () => mischief.now(),
      );
    } catch (error) {
      if (!(error instanceof Mine)) throw error;
      mine = error;
      return {};
    }
  });
  mischief.end();
  if (mine !== mischief.thrown) throw new Error(`${kind}: an error of the callback's was swallowed`);
  if (mine !== undefined || actual.error !== undefined) {
    const isLost =
      actual.error?.code === "DISPOSED" ||
      actual.error?.code === "BUFFER" ||
      actual.error?.code === "TYPE" ||
      actual.error?.code === "LENGTH";
    if (actual.error !== undefined && !(mischief.spoilt && isLost))
      throw new Error(`${kind}: ${actual.error.message}`);
    world.expectUnchanged(before, [], `${kind}, refused,`);
    return;
  }
  world.expectUnchanged(
    before,
    outs.map(({ place }) => place),
    kind,
  );
  const gone = owners.some((owner) => !(owner instanceof ArrayBuffer) && owner.disposed);
  for (const name in results) {
    const o = outs.find((o) => o.name === name);
    if (o !== undefined && (gone || outs.some((p) => p !== o && p.place.owner === o.place.owner))) continue;
    const got = o === undefined ? (resultsOf(actual)[name]?.data as FloatArray) : world.view(o.place);
    const want = resultsOf(expected[world.engine])[name]?.data as FloatArray;
    if (!mischief.engine) expectSameBits(got, want, `${kind}: ${name}`);
    else if (drawn.tidy) agree(got, want, drawn.dtype, false, `${kind}: ${name}`);
  }
}

/** The tensors that a call gave, by name. */
function resultsOf({
  value,
  grads,
}: Outcome): Record<string, { data: FloatArray; shape: readonly number[] }> {
  return typeof value === "object" && value !== null ? { ...grads, value: value as never } : { ...grads };
}

/** The outputs, each behind a getter. */
function lazyOut(
  out: object | undefined,
  getter: <T>(give: () => T) => { get: () => T; enumerable: boolean },
): object | undefined {
  if (out === undefined) return undefined;
  const { value, grads } = out as { value: unknown; grads: Record<string, unknown> };
  const each = Object.entries(grads).map(([name, x]) => [name, getter(() => x)] as const);
  const lazy = Object.defineProperties({}, Object.fromEntries(each));
  return Object.defineProperties({}, { value: getter(() => value), grads: getter(() => lazy) });
}

/** The functions that are no losses, on arrays that lie anywhere. */
export function aside(world: World, dice: Dice): void {
  const { library } = world;
  const { mostOffending, mostOffendingContinuous, lossFunctional } = library.energy;
  const [n, t, c] = [1 + dice.below(3), 1 + dice.below(12), 2 + dice.below(5)];
  const kind = dice.pick([
    "align",
    "posteriors",
    "greedy",
    "beam",
    "nearest",
    "offending",
    "continuous",
    "functional",
  ] as const);
  const d = 1 + dice.below(8);
  const m = 1 + dice.below(30);
  const shapes =
    kind === "nearest"
      ? [
          [n, d],
          [m, d],
        ]
      : kind === "offending" || kind === "functional"
        ? [[n, c]]
        : [[n, t, c]];
  const drawn = numbers(world, dice, shapes);
  if (drawn === undefined) return;
  const { placed, plain, dtype, tidy } = drawn;
  const targets = Array.from({ length: n }, () =>
    Array.from({ length: dice.below(1 + Math.ceil(t / 2)) }, () => 1 + dice.below(c - 1)),
  );
  const answers = Array.from({ length: n }, () => dice.below(c));
  const k = 1 + dice.below(m);
  const seed = dice.seed();
  const run = (args: readonly unknown[]): unknown => {
    const [a, b] = args as [never, never];
    switch (kind) {
      case "align":
        return library.ctcAlign(a, targets);
      case "posteriors":
        return library.ctcPosteriors(a, targets);
      case "greedy":
        return library.ctcGreedyDecode(a);
      case "beam":
        return library.ctcBeamDecode(a, {
          beamWidth: 1 + (k % 5),
          extend: (prefix, label) => {
            // a language model that is a call of its own
            const { data } = library.logSoftmax([prefix.length, label, 1]);
            return (data[1] as number) / 8;
          },
        });
      case "nearest":
        return library.nearest(a, b, k);
      case "offending":
        return mostOffending(a, answers);
      case "functional": {
        const f = lossFunctional();
        f.add(library.logSumExp(a));
        return [f.value(), JSON.stringify(f.toJSON())];
      }
      case "continuous":
        return mostOffendingContinuous(
          (y: Float64Array) => {
            const { value, grads } = library.mseLoss.valueAndGrad(y, [0.5, -0.25]);
            return { value, grad: grads.input };
          },
          [0.1, 0.2],
          { epsilon: 0.5, starts: 3, steps: 10, seed: seed % 1000, bounds: [-2, 2] },
        );
    }
  };
  const expected = run(plain);
  const other = world.on(world.engine === "wasm" ? "js" : "wasm", () => run(plain));
  if (placed.some(({ place }) => !world.isThere(place))) return;
  const forms = placed.map(() => dice.below(7));
  const args = placed.map((p, i) => argument(world, p, forms[i] as number));
  const before = world.snapshot(placed.map(({ place }) => place));
  const actual = run(args);
  world.expectUnchanged(before, [], kind);
  expectSameBits(flat(actual), flat(expected), kind);
  // labels and places may differ where two are alike
  const compared = {
    posteriors: true,
    nearest: false,
    offending: true,
    align: false,
    greedy: false,
    beam: true,
    functional: true,
    continuous: true,
  };
  if (tidy && compared[kind] && kind !== "continuous" && kind !== "functional" && kind !== "beam")
    agree(flat(other), flat(expected), dtype, false, `${kind} on the other engine`);
}

/** All numbers of an answer, in their order. */
function flat(x: unknown): number[] {
  if (typeof x === "number") return [x];
  if (typeof x === "string") return [...x].map((c) => c.charCodeAt(0));
  if (ArrayBuffer.isView(x)) return Array.from(x as unknown as ArrayLike<number>);
  if (typeof x === "object" && x !== null) return Object.values(x).flatMap(flat);
  return [];
}
