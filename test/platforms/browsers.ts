/** Browsers: the package's own files, loaded by a page and by a Web Worker, with and without a content security policy. */
import type { Platform, Result } from "./platform.js";
import { type Answer, program, type Wanted } from "./program.js";
import { browser, project, reporting, site } from "./workshop.js";

const POLICY = "default-src 'self'; script-src 'self'";
const POLICY_WITH_WASM = `${POLICY} 'wasm-unsafe-eval'`;

interface Way {
  readonly way: string;
  readonly entry: "index" | "js" | "slim";
  readonly engine: "wasm" | "js";
  readonly isWorker?: boolean;
  readonly policy?: string;
  readonly violations?: boolean;
}

const WAYS: readonly Way[] = [
  { way: "page", entry: "index", engine: "wasm" },
  { way: "Web Worker", entry: "index", engine: "wasm", isWorker: true },
  {
    way: "CSP with 'wasm-unsafe-eval'",
    entry: "index",
    engine: "wasm",
    policy: POLICY_WITH_WASM,
    violations: false,
  },
  { way: "CSP without it", entry: "index", engine: "js", policy: POLICY, violations: true },
  { way: "CSP without it, Web Worker", entry: "index", engine: "js", policy: POLICY, isWorker: true },
  { way: "CSP without it, `perdida/js`", entry: "js", engine: "js", policy: POLICY, violations: false },
  { way: "`perdida/slim`", entry: "slim", engine: "wasm" },
];

/** A page whose script reports. */
export const html = (script: string): string =>
  `<!doctype html><meta charset="utf-8"><script src="report.js"></script><script type="module" src="${script}"></script>`;

/** @param isTold whether the browser reports it as a violation of the policy where WebAssembly is refused */
function platform(name: Parameters<typeof browser>[0], title: string, isTold = true): Platform {
  return {
    name: title,
    word: name,
    async run() {
      const [{ origin }, shown] = [await site(), await browser(name)];
      const results: Result[] = [];
      for (const [i, { way, entry, engine, isWorker, policy, violations }] of WAYS.entries()) {
        const id = `${name}${i}`;
        const dist = `/${id}/node_modules/perdida/dist`;
        const wanted: Wanted = {
          from: `${dist}/${entry}.js`,
          ...(entry === "slim" && {
            before: `await perdida.ready(${JSON.stringify(`${dist}/perdida.wasm`)});`,
          }),
        };
        await project(id, {
          "index.html": html("page.js"),
          "report.js": reporting(origin, id),
          "page.js": isWorker
            ? 'new Worker("worker.js", { type: "module" }).addEventListener("message", (event) => report(event.data));'
            : program(wanted, "report"),
          "worker.js": program(wanted, "postMessage"),
        });
        if (policy !== undefined) (await site()).guard(id, policy);
        const answer: Answer = await shown.visit(`${origin}/${id}/`, id);
        results.push({
          way,
          version: shown.version,
          engine,
          answer,
          ...(violations !== undefined && { violations: violations && isTold }),
        });
      }
      return results;
    },
  };
}

export const browsers: readonly Platform[] = [
  platform("chromium", "Chromium"),
  platform("firefox", "Firefox"),
  platform("webkit", "WebKitGTK", false),
];
