/** The examples of the documentation: finding them in comments and pages, and running them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import * as layers from "@tensorflow/tfjs-layers";
import "@tensorflow/tfjs-backend-cpu";
import { transformSync } from "esbuild";
import { ROOT } from "../../scripts/support.mjs";
import * as energy from "../../ts/energy.js";
import * as perdida from "../../ts/index.js";
import * as tfjs from "../../ts/tfjs.js";

/** What examples import; "@tensorflow/tfjs" is these packages together. */
const MODULES: Readonly<Record<string, object>> = {
  perdida,
  "perdida/energy": energy,
  "perdida/tfjs": tfjs,
  "@tensorflow/tfjs": { ...tf, ...layers },
};

/** A block of code between fences. */
export interface Example {
  /** Where it begins: `README.md:10`. */
  readonly place: string;
  /** What stands behind `ts`: why it cannot run here. */
  readonly mark: string;
  readonly code: string;
}

/** The blocks marked as `ts` in a page, or in the comments of a source. */
export function examplesOf(file: string): Example[] {
  const isPage = file.endsWith(".md");
  const examples: Example[] = [];
  let open: { line: number; mark: string; code: string[] } | undefined;
  readFileSync(join(ROOT, file), "utf8")
    .split(/\r?\n/)
    .forEach((whole, i) => {
      const comment = /^\s*\* ?(.*)$/.exec(whole);
      const text = isPage ? whole : (comment?.[1] ?? "");
      if (open === undefined) {
        const begin = /^```ts(?: (.*))?$/.exec(text);
        if (begin !== null) open = { line: i + 1, mark: begin[1] ?? "", code: [] };
      } else if (text === "```") {
        const { line, mark, code } = open;
        examples.push({ place: `${file}:${line}`, mark, code: code.join("\n") });
        open = undefined;
      } else open.code.push(text);
    });
  if (open !== undefined) throw new Error(`${file}:${open.line}: a block without an end`);
  return examples;
}

/** The lines that say what they print: `console.log(...); // "0.4076"`. */
const PRINTS = /^(\s*)console\.log\((.*)\); \/\/ (.*)$/;

type Seen = (line: number, ...values: unknown[]) => void;
type Program = (load: (name: string) => object, seen: Seen, console: object) => Promise<void>;
const AsyncFunction = (async () => {}).constructor as new (...parts: string[]) => Program;

/** JavaScript in which imports are calls of `load`, and lines that say what they print calls of `seen`. */
export function compile(code: string): Program {
  const body = code
    .split("\n")
    .map((line, i) => line.replace(PRINTS, (_, space, values) => `${space}seen(${i}, ${values});`))
    .join("\n")
    .replaceAll(
      /^import \{([^}]*)\} from ("[^"]*");/gm,
      (_, names: string, from) => `const {${names.replaceAll(" as ", ": ")}} = load(${from});`,
    )
    .replaceAll(/^import \* as (\w+) from ("[^"]*");/gm, "const $1 = load($2);")
    .replaceAll(/^import (\w+) from ("[^"]*");/gm, "const { default: $1 } = load($2);");
  const { code: plain } = transformSync(body, { loader: "ts", format: "esm", target: "es2022" });
  return new AsyncFunction("load", "seen", "console", plain);
}

/** Runs an example; throws where something is not printed as it says. */
export async function runExample({ code }: Example): Promise<void> {
  const lines = code.split("\n");
  const expected = new Map(
    lines.flatMap((line, i) => {
      const says = PRINTS.exec(line)?.[3];
      return says === undefined ? [] : [[i, says] as const];
    }),
  );
  const open = new Set(expected.keys());
  const load = (name: string): object => {
    const found = MODULES[name];
    if (found === undefined) throw new Error(`there is no ${name} here`);
    const absent = new RegExp(`^import \\{([^}]*)\\} from "${name}";`, "m").exec(code)?.[1] ?? "";
    for (const part of absent.split(",")) {
      const imported = part.trim().split(" as ")[0] as string;
      if (imported !== "" && !(imported in found)) throw new Error(`${name} has no ${imported}`);
    }
    return found;
  };
  const seen: Seen = (line, ...values) => {
    open.delete(line);
    const says = expected.get(line) as string;
    const printed = values.map(show).join(" ");
    if (!isSame(says, printed)) throw new Error(`"${lines[line]}" prints ${printed}`);
  };
  await compile(code)(load, seen, { log() {} });
  for (const line of open) throw new Error(`"${lines[line]}" is never reached`);
}

/** What is printed may be followed by words: `"wasm", or "js" where ...`. */
function isSame(says: string, printed: string): boolean {
  return says === printed || says.startsWith(`${printed}, `) || says.startsWith(`${printed} ... `);
}

/** Values as the examples write them. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView)))
    return `[${Array.from(value as ArrayLike<unknown>, show).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([name, inner]) => `${name}: ${show(inner)}`);
    return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
  }
  return Object.is(value, -0) ? "-0" : String(value);
}
