/** Tools and places: the tools of this folder's package.json, scratch projects with the packed library, browsers, a server. */
import { type ChildProcess, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, createServer as createSocket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import {
  attempt,
  Failure,
  hashOf,
  npm,
  ROOT,
  readJson,
  readText,
  run,
  step,
  writeWhole,
} from "../../scripts/support.mjs";
import type { Answer } from "./program.js";

export const HERE = fileURLToPath(new URL(".", import.meta.url));
const SCRATCH = join(HERE, ".scratch");
export const TOOLS = join(HERE, "node_modules");

/** Why something cannot be run on this machine: no failure of the library. */
export class NotHere extends Error {}

/** Installs the tools where they are not, or are others than the lock file's. */
export async function installTools(): Promise<void> {
  const stamp = join(TOOLS, ".installed");
  const wanted = hashOf(["test/platforms/package-lock.json"], [process.platform, process.arch]);
  if (readText(stamp) === wanted) return;
  const [command, args] = npm(["ci", "--prefix", HERE, "--no-audit", "--no-fund", "--loglevel=error"]);
  await step("installs the platforms' tools", (tell) => run(command, args, { cwd: HERE, tell }));
  writeWhole(stamp, wanted);
}

/** The version of a tool that is installed. */
export function versionOf(name: string): string {
  return readJson(join(TOOLS, name, "package.json"))?.version ?? "";
}

/** The path of a tool's program, to be run by Node. */
export const tool = (path: string): string => join(TOOLS, path);

/** A program that comes in a package per system: the first of these that is there. */
export function binary(scope: string, ...paths: string[]): string {
  const folder = join(TOOLS, scope);
  const packages =
    scope.startsWith("@") && existsSync(folder)
      ? readdirSync(folder).map((name) => join(folder, name))
      : [folder];
  const found = packages.flatMap((name) => paths.map((path) => join(name, path))).find(existsSync);
  if (found === undefined)
    throw new NotHere(`${scope} has no program for ${process.platform} ${process.arch}`);
  return found;
}

/** Packs the library. @returns the tarball */
async function pack(): Promise<string> {
  mkdirSync(SCRATCH, { recursive: true });
  await run(...npm(["pack", "--ignore-scripts", "--pack-destination", SCRATCH]));
  return join(SCRATCH, `perdida-${readJson(join(ROOT, "package.json")).version}.tgz`);
}

let tarball: Promise<string> | undefined;

/** A project with these files and the packed library, installed as a consumer does it. @returns its folder */
export async function project(
  name: string,
  files: Readonly<Record<string, string>>,
  type = "module",
): Promise<string> {
  tarball ??= pack();
  const packed = await tarball;
  const folder = join(SCRATCH, name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "consumer", private: true, type }));
  const install = ["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund", packed];
  await run(...npm(install), { cwd: folder });
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
  return folder;
}

/** Runs a program that prints its answer. */
export async function answerOf(
  command: string,
  args: readonly string[],
  cwd: string,
  env = {},
): Promise<Answer> {
  const printed = await run(command, args, { cwd, env: { ...process.env, ...env }, timeout: 120_000 });
  return JSON.parse(printed.trim().split("\n").at(-1) as string);
}

/** A port that is free. */
export async function freePort(): Promise<number> {
  const socket = createSocket().listen(0, "127.0.0.1");
  await new Promise((done) => socket.once("listening", done));
  const { port } = socket.address() as AddressInfo;
  await new Promise((done) => socket.close(done));
  return port;
}

/** A server program that runs while some work is done. */
export async function serving<T>(
  command: string,
  args: readonly string[],
  { cwd, port, env = {} }: { cwd: string; port: number; env?: Record<string, string> },
  work: () => Promise<T>,
): Promise<T> {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
  }
  try {
    for (let waited = 0; ; waited++) {
      const answered = await fetch(`http://127.0.0.1:${port}/ready`).then(
        () => true,
        () => false,
      );
      if (answered) break;
      if (child.exitCode !== null || waited > 300)
        throw new Failure(`it does not answer:\n${output.slice(-2000)}`);
      await sleep(200);
    }
    return await work();
  } catch (error) {
    throw new Failure(`${error instanceof Error ? error.message : error}\n${output.slice(-2000)}`);
  } finally {
    end(child);
  }
}

/** Ends a program and what it has started. */
function end(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  try {
    if (process.platform === "win32") child.kill();
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // it has ended meanwhile
  }
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Serves the scratch projects and takes the answers of pages. */
class Site {
  readonly #waiting = new Map<string, (text: string) => void>();
  readonly #policies = new Map<string, string>();

  private constructor(
    readonly server: Server,
    readonly origin: string,
  ) {}

  static async open(): Promise<Site> {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const site = new Site(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    server.on("request", (request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? "/", site.origin).pathname);
      response.setHeader("access-control-allow-origin", "*");
      if (path.startsWith("/report/")) {
        let text = "";
        request.setEncoding("utf8").on("data", (part) => {
          text += part;
        });
        request.on("end", () => {
          site.#waiting.get(path.slice(8))?.(text);
          response.end();
        });
        return;
      }
      const policy = site.#policies.get(path.split("/")[1] ?? "");
      if (policy !== undefined) response.setHeader("content-security-policy", policy);
      try {
        const file = normalize(join(SCRATCH, path.endsWith("/") ? `${path}index.html` : path));
        if (!file.startsWith(SCRATCH)) throw new Error("outside");
        response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
        response.end(readFileSync(file));
      } catch {
        response.statusCode = 404;
        response.end();
      }
    });
    return site;
  }

  /** Sends this policy with every file of a project. */
  guard(name: string, policy: string): void {
    this.#policies.set(name, policy);
  }

  /** What the page sends that was told to report under this name. */
  report(name: string): Promise<string> {
    return new Promise((done) => this.#waiting.set(name, done));
  }
}

let opened: Promise<Site> | undefined;

/** The one site. */
export function site(): Promise<Site> {
  opened ??= Site.open();
  return opened;
}

/** Ends what was started and clears the scratch projects away. */
export async function close(): Promise<void> {
  (await opened)?.server.close();
  (await opened)?.server.closeAllConnections();
  rmSync(SCRATCH, { recursive: true, force: true });
}

/** How a page's script begins: `report(text)` sends an answer, and errors are sent as well. */
export function reporting(origin: string, name: string): string {
  return `
let violations = 0;
globalThis.document?.addEventListener("securitypolicyviolation", () => violations++);
const send = (text) => fetch(${JSON.stringify(`${origin}/report/${name}`)}, { method: "POST", body: text });
// the browser tells of violations a little later
globalThis.report = (text) => setTimeout(() => send(JSON.stringify({ ...JSON.parse(text), violations })), 200);
const failed = (error) => send(JSON.stringify({ error: String(error?.stack ?? error) }));
globalThis.addEventListener("error", (event) => failed(event.error ?? event.message ?? "a script was not loaded"), true);
globalThis.addEventListener("unhandledrejection", (event) => failed(event.reason));
`;
}

/** Waits for an answer, which may be that it went wrong. */
export function read(text: string): Answer {
  const answer = JSON.parse(text);
  if (answer.error !== undefined) throw new Failure(answer.error);
  return answer;
}

export interface Browser {
  readonly name: string;
  readonly version: string;
  /** Shows a page until it has reported under this name. */
  visit(url: string, name: string): Promise<Answer>;
}

/** What is to be known of a browser. */
interface Kind {
  /** The environment's variable that names it. */
  readonly variable: string;
  readonly paths: readonly string[];
  /** Debian's packages. */
  readonly packages: readonly string[];
  readonly args: (profile: string) => readonly string[];
  /** Whether it shows nothing without a display, so that it is given a virtual one. */
  readonly needsDisplay?: boolean;
}

const FIREFOX = [
  "/usr/bin/firefox-esr",
  "/usr/bin/firefox",
  "/Applications/Firefox.app/Contents/MacOS/firefox",
];

const BROWSERS = {
  chromium: {
    variable: "PERDIDA_CHROMIUM",
    paths: [
      "/usr/bin/chromium",
      "/usr/bin/google-chrome",
      "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ],
    packages: ["chromium"],
    args: (profile: string) => [
      ...[
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
      ],
      ...[
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        `--user-data-dir=${profile}`,
      ],
    ],
  },
  firefox: {
    variable: "PERDIDA_FIREFOX",
    paths: FIREFOX,
    packages: ["firefox-esr"],
    args: (profile: string) => ["--headless", "--no-remote", "--profile", profile],
  },
  // without a display it has no webgl
  "firefox-shown": {
    variable: "PERDIDA_FIREFOX",
    paths: FIREFOX,
    packages: ["firefox-esr", "xvfb", "xauth"],
    args: (profile: string) => ["--no-remote", "--profile", profile],
    needsDisplay: true,
  },
  webkit: {
    variable: "PERDIDA_WEBKIT",
    paths: [
      "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
      "/usr/lib/aarch64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
      "/usr/libexec/webkit2gtk-4.1/MiniBrowser",
    ],
    packages: ["webkit2gtk-driver", "xvfb", "xauth"],
    args: () => ["--private"],
    needsDisplay: true,
  },
} as const satisfies Record<string, Kind>;

/** Gives a program a display that nobody sees. */
const XVFB = "/usr/bin/xvfb-run";

/** No pages of its own, nothing sent. */
const FIREFOX_PREFERENCES = `
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("toolkit.telemetry.reportingpolicy.firstRun", false);
user_pref("app.update.enabled", false);
user_pref("webgl.force-enabled", true);
`;

/** How long a page has, which on a busy machine needs a while to come up. */
const PATIENCE = 90_000;

/** Installs packages of Debian, where this is one, and the user root. */
export async function installPackages(packages: readonly string[]): Promise<void> {
  if (!existsSync("/etc/debian_version") || process.getuid?.() !== 0) return;
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await step(`apt-get install ${packages.join(" ")}`, async (tell) => {
    await attempt("apt-get", ["update", "-qq"], { env, tell });
    await attempt("apt-get", ["install", "-y", "--no-install-recommends", ...packages], { env, tell });
  });
}

/** A browser of this machine; on Debian root installs it. */
export async function browser(name: keyof typeof BROWSERS): Promise<Browser> {
  const { variable, paths, packages, args, needsDisplay }: Kind = BROWSERS[name];
  const isVirtual = needsDisplay === true && !process.env.DISPLAY;
  const find = () =>
    isVirtual && !existsSync(XVFB)
      ? undefined
      : [process.env[variable], ...paths].find((path) => path && existsSync(path));
  if (find() === undefined) await installPackages(packages);
  const path = find();
  if (path === undefined)
    throw new NotHere(`no ${name} was found${isVirtual ? `, or no ${XVFB}` : ""}; ${variable} names it`);
  const [command, ...before] = isVirtual ? ([XVFB, "-a", path] as const) : ([path] as const);
  const version = /\d+(\.\d+)+/.exec(await run(command, [...before, "--version"]))?.[0] ?? "";
  return {
    name,
    version,
    async visit(url, as) {
      const profile = mkdtempSync(join(tmpdir(), `perdida-${name}-`));
      if (name.startsWith("firefox")) writeFileSync(join(profile, "user.js"), FIREFOX_PREFERENCES);
      const reported = (await site()).report(as);
      const child = spawn(command, [...before, ...args(profile), url], { stdio: "ignore", detached: true });
      const late = sleep(PATIENCE, undefined, { ref: false }).then(() => {
        throw new Failure(`${name} showed ${url} and nothing was reported`);
      });
      try {
        return read(await Promise.race([reported, late]));
      } finally {
        end(child);
        await sleep(200);
        rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
      }
    },
  };
}
