/** Next.js: a server component, an edge route and a client component of one app, built and served. */
import { Failure, run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { COMPUTE } from "./program.js";
import {
  browser,
  freePort,
  HERE,
  project,
  read,
  reporting,
  serving,
  site,
  tool,
  versionOf,
} from "./workshop.js";

const ID = "next";

const files = (origin: string): Record<string, string> => ({
  // the tools lie above the app
  "next.config.mjs": `export default { turbopack: { root: ${JSON.stringify(HERE)} } };`,
  "app/layout.js":
    "export default function Layout({ children }) { return <html lang='en'><body>{children}</body></html>; }",
  "app/page.js": `
import * as perdida from "perdida";
${COMPUTE}
export const dynamic = "force-dynamic";
export default function Page() { return <pre>{"<<<" + btoa(JSON.stringify(compute(perdida))) + ">>>"}</pre>; }
`,
  "app/edge/route.js": `
import * as perdida from "perdida";
${COMPUTE}
export const runtime = "edge";
export const dynamic = "force-dynamic";
export function GET() { return new Response(JSON.stringify(compute(perdida))); }
`,
  "app/client/page.js": `
"use client";
import { useEffect } from "react";
import * as perdida from "perdida";
${COMPUTE}
export default function Page() {
  useEffect(() => {
    ${reporting(origin, ID)}
    try { report(JSON.stringify(compute(perdida))); } catch (error) { failed(error); }
  }, []);
  return <p>computes</p>;
}
`,
});

export const next: Platform = {
  name: "Next.js",
  word: "next",
  async run() {
    const [{ origin }, shown, port] = [await site(), await browser("chromium"), await freePort()];
    const cwd = await project(ID, files(origin));
    const program = tool("next/dist/bin/next");
    const env = { NEXT_TELEMETRY_DISABLED: "1", NODE_ENV: "production" };
    await run(process.execPath, [program, "build"], { cwd, env: { ...process.env, ...env } });
    const version = versionOf("next");
    const start = [program, "start", "--port", String(port), "--hostname", "127.0.0.1"];
    return serving(process.execPath, start, { cwd, port, env }, async () => {
      const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
      const page = await get("/");
      const encoded = /&lt;&lt;&lt;([\w+/=]+)&gt;&gt;&gt;/.exec(page)?.[1];
      if (encoded === undefined) throw new Failure(`the page has no answer: ${page.slice(0, 500)}`);
      const [server, edge] = [read(atob(encoded)), read(await get("/edge"))];
      const client = await shown.visit(`http://127.0.0.1:${port}/client`, ID);
      const results: Result[] = [
        { way: "server component", version, engine: "wasm", answer: server },
        // Next's own server lets it compile bytes; a host that does not gets the js engine
        { way: "edge route", version, engine: edge.engine, answer: edge },
        { way: "client component", version, engine: "wasm", answer: client },
      ];
      return results;
    });
  },
};
