/** The programs that the platforms run: compute.mjs, with the library before it and a report behind it. */
import { readFileSync } from "node:fs";

/** What a platform answers. */
export interface Answer {
  readonly engine: "wasm" | "js";
  readonly reason?: string;
  /** For each function: the bits of the value, and a hash over those of the gradients. */
  readonly bits: Readonly<Record<string, string>>;
  /** How often the content security policy was violated, where there is one. */
  readonly violations?: number;
}

/** The text of compute.mjs: the loader that runs this would rewrite the function itself. */
export const COMPUTE = readFileSync(new URL("compute.mjs", import.meta.url), "utf8").replace(
  /^export .*$/m,
  "",
);

const ANSWER = "JSON.stringify(compute(perdida))";

/** How the program gets the library. */
export interface Wanted {
  /** The module: `perdida`, or an address. */
  readonly from: string;
  readonly format?: "esm" | "cjs";
  /** Statements before: what `from` needs (imports), and what is to be awaited. */
  readonly imports?: string;
  readonly before?: string;
}

/** A program that computes the answer as text and does something with it: the name of a function, or what makes a statement. */
export function program(
  { from, format = "esm", imports = "", before = "" }: Wanted,
  report: string | ((answer: string) => string),
): string {
  const get =
    format === "esm"
      ? `import * as perdida from ${JSON.stringify(from)};`
      : `const perdida = require(${JSON.stringify(from)});`;
  return `${get}
${imports}
${COMPUTE}
${before}
${typeof report === "string" ? `${report}(${ANSWER});` : report(ANSWER)}
`;
}
