/** The cold start: from the import in a fresh Node to the first gradient. */
import { join } from "node:path";
import { ROOT, run } from "../scripts/support.mjs";
import { estimate, type Samples } from "./measure.js";
import { duration, table } from "./table.js";

const STARTS = 21;

const CALL = "crossEntropyLoss.valueAndGrad(new Float32Array([1, 2, 3]), 2)";
/** Each prints the milliseconds from before the import to after it, and to the gradient. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  ESM: [
    "--input-type=module",
    "--eval",
    `await import("data:text/javascript,"); // Node's own loader starts
const at = [performance.now()];
const { crossEntropyLoss } = await import("perdida");
at.push(performance.now());
${CALL};
at.push(performance.now());
console.log(JSON.stringify(at));`,
  ],
  CommonJS: [
    "--input-type=commonjs",
    "--eval",
    `const at = [performance.now()];
const { crossEntropyLoss } = require("perdida");
at.push(performance.now());
${CALL};
at.push(performance.now());
console.log(JSON.stringify(at));`,
  ],
};

/** Times from the import on, one number per start: to the end of the import, and to the first gradient. */
export async function coldStarts(
  name: string,
  starts = STARTS,
): Promise<{ imported: Samples; gradient: Samples }> {
  const imported: number[] = [];
  const gradient: number[] = [];
  for (let i = 0; i <= starts; i++) {
    const printed = await run(process.execPath, [...(PROGRAMS[name] ?? [])], { cwd: join(ROOT, "bench") });
    const [from, between, to] = JSON.parse(printed) as [number, number, number];
    // the first one reads the files from the disk
    if (i === 0) continue;
    imported.push(between - from);
    gradient.push(to - from);
  }
  return { imported, gradient };
}

/** Measures and prints a table, or the medians as JSON. */
export async function cold(json: boolean): Promise<void> {
  const rows = [];
  const medians: Record<string, number> = {};
  for (const name of Object.keys(PROGRAMS)) {
    const { imported, gradient } = await coldStarts(name);
    const { median, low, high } = estimate(gradient);
    medians[name] = Number(median.toFixed(2));
    rows.push([
      name,
      duration(estimate(imported).median),
      duration(median),
      `${duration(low)} - ${duration(high)}`,
    ]);
  }
  if (json) process.stdout.write(`${JSON.stringify(medians)}\n`);
  console.log(
    `\n${table([`Node ${process.versions.node}`, "import", "import to first gradient", "interval"], rows)}\n`,
  );
}
