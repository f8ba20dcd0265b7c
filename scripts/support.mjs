/** What the scripts share: saying what happens, running programs, locks, hashes. Plain Node, runs before npm packages exist. */
import { spawn } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { homedir, hostname } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..");
export const WINDOWS = process.platform === "win32";

/** A failure whose message says all there is to say: shown without a stack. */
export class Failure extends Error {}

/** `12.3 s`, since the program started unless told. */
export function seconds(milliseconds = performance.now()) {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** One line with the time that has passed.
 * @param {string} text */
export function say(text) {
  console.log(`[${seconds().padStart(7)}] ${text}`);
}

/** Says that a step begins and how long it took; while it lasts, every ten seconds that it still does.
 * @template T
 * @param {string} text
 * @param {(tell: (detail: string) => void) => Promise<T>} work `tell` keeps the last detail, for the ten-second line
 * @returns {Promise<T>} */
export async function step(text, work) {
  const started = performance.now();
  let detail = "";
  say(`${text} ...`);
  const timer = setInterval(
    () => say(`${text} ... ${seconds(performance.now() - started)}${detail && `, ${detail}`}`),
    10_000,
  );
  try {
    const result = await work((line) => {
      detail = line;
    });
    say(`${text}: ${seconds(performance.now() - started)}`);
    return result;
  } finally {
    clearInterval(timer);
  }
}

/** Runs the main function of a script: a Failure ends it with its message alone.
 * @param {() => Promise<unknown>} main */
export async function script(main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Failure ? `\n${error.message}` : error);
    process.exitCode = 1;
  }
}

/** Whether this module is the one that was started. A module's URL has no links in it, the path that was started may have some.
 * @param {string} url its import.meta.url */
export function isMain(url) {
  const [, started] = process.argv;
  return started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(url);
}

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {number} [timeout] milliseconds
 * @property {"capture" | "show" | "inherit"} [output] what happens to what it prints: kept (by default), kept and shown, or
 *   straight to the terminal
 * @property {(line: string) => void} [tell] gets the last line printed, as it comes
 */

/** Runs a program without a shell; never rejects. `output` is what it printed on both channels, `stdout` on the one.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<{ ok: boolean, code: number, output: string, stdout: string }>} */
export function attempt(command, args, options = {}) {
  const { cwd = ROOT, env = process.env, timeout, output: mode = "capture", tell } = options;
  return new Promise((done) => {
    let output = "";
    let stdout = "";
    const stdio = mode === "inherit" ? /** @type {const} */ ("inherit") : undefined;
    const child = spawn(command, args, { cwd, env, timeout, stdio, windowsHide: true });
    /** @param {boolean} isStdout
     * @returns {(chunk: string) => void} */
    const take = (isStdout) => (chunk) => {
      output += chunk;
      if (isStdout) stdout += chunk;
      if (mode === "show") (isStdout ? process.stdout : process.stderr).write(chunk);
      const line = chunk.trim().split("\n").at(-1)?.trim();
      if (line) tell?.(line);
    };
    child.stdin?.end();
    child.stdout?.setEncoding("utf8").on("data", take(true));
    child.stderr?.setEncoding("utf8").on("data", take(false));
    child.on("error", (error) =>
      done({ ok: false, code: -1, output: `${output}${error.message}\n`, stdout }),
    );
    child.on("close", (code, signal) => {
      if (signal) output += `ended by ${signal}${timeout ? ` (it had ${timeout / 1000} s)` : ""}\n`;
      done({ ok: code === 0, code: code ?? -1, output, stdout });
    });
  });
}

/** Runs a program that must succeed; its output is shown when it does not.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions & { hint?: string }} [options]
 * @returns {Promise<string>} what it printed to stdout */
export async function run(command, args, options = {}) {
  const result = await attempt(command, args, options);
  if (result.ok) return result.stdout;
  const shown =
    (options.output ?? "capture") !== "capture"
      ? ""
      : `${result.output.trimEnd().split("\n").slice(-60).join("\n")}\n\n`;
  throw new Failure(`${shown}failed: ${command} ${args.join(" ")}${options.hint ? `\n${options.hint}` : ""}`);
}

/** npm itself, without a shell on any system: through the npm that runs this script, or the one beside Node.
 * @param {readonly string[]} args
 * @returns {[string, string[]]} */
export function npm(args) {
  const beside = [
    join(dirname(process.execPath), "node_modules/npm/bin/npm-cli.js"),
    join(dirname(process.execPath), "../lib/node_modules/npm/bin/npm-cli.js"),
    join(dirname(process.execPath), "../share/nodejs/npm/bin/npm-cli.js"),
  ];
  const script = [process.env.npm_execpath, ...beside].find(
    (path) => path && /npm-cli\.js$/.test(path) && existsSync(path),
  );
  return script ? [process.execPath, [script, ...args]] : ["npm", [...args]];
}

/** The environment with folders put before PATH and what would change a build unnoticed taken out.
 * @param {readonly string[]} folders
 * @param {Record<string, string | undefined>} [extra]
 * @returns {NodeJS.ProcessEnv} */
export function environment(folders, extra = {}) {
  const env = { ...process.env };
  for (const name of [
    "RUSTC",
    "RUSTFLAGS",
    "CARGO",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_RUSTFLAGS",
  ]) {
    delete env[name];
  }
  const key = Object.keys(env).find((name) => name.toUpperCase() === "PATH") ?? "PATH";
  env[key] = [...folders, env[key]].filter(Boolean).join(delimiter);
  return Object.assign(env, extra);
}

/** Where tools are kept between clones: PERDIDA_CACHE, or the system's place for caches. */
export function cacheFolder() {
  const { PERDIDA_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  if (PERDIDA_CACHE) return resolve(PERDIDA_CACHE);
  if (WINDOWS) return join(LOCALAPPDATA ?? join(homedir(), "AppData/Local"), "perdida/cache");
  if (process.platform === "darwin") return join(homedir(), "Library/Caches/perdida");
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "perdida");
}

/** @param {string} file
 * @returns {string} its text, empty where it cannot be read */
export function readText(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/** @param {string} file
 * @returns {any} what stands in a JSON file, undefined where it cannot be read */
export function readJson(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return undefined;
  }
}

/** Writes a file at once: whoever reads at the same time sees the old one or the new one. Leaves it alone when equal.
 * @param {string} file
 * @param {string | Uint8Array} content */
export function writeWhole(file, content) {
  const bytes = Buffer.from(content);
  if (existsSync(file) && bytes.equals(readFileSync(file))) return;
  mkdirSync(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}.tmp`;
  writeFileSync(draft, bytes);
  renameSync(draft, file);
}

/** One hash over files and folders (below ROOT) and some words.
 * @param {readonly string[]} paths
 * @param {readonly string[]} words
 * @param {(path: string) => boolean} [skip] */
export function hashOf(paths, words, skip = () => false) {
  const hash = createHash("sha256");
  /** @param {string} path */
  const add = (path) => {
    if (skip(path)) return;
    const full = join(ROOT, path);
    const stat = statSync(full, { throwIfNoEntry: false });
    if (stat?.isDirectory()) for (const name of readdirSync(full).sort()) add(`${path}/${name}`);
    else if (stat) hash.update(`${path}\0${stat.size}\0`).update(readFileSync(full));
  };
  paths.forEach(add);
  return hash.update(words.join("\0")).digest("hex");
}

/** A holder that shows no sign of life for this long is taken for dead; one of this machine at once when its process is. */
const SILENCE = 120_000;

/** @param {string} file
 * @param {string} text what stands in the lock */
function isAbandoned(file, text) {
  const [host, pid] = text.split(" ");
  const touched = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  if (touched === undefined) return false;
  if (Date.now() - touched > SILENCE) return true;
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === "ESRCH";
  }
}

/** Does some work while no other process holds the lock of this name. The lock is a file that names its holder; one that was
 * left behind by a crash is taken over.
 * @template T
 * @param {string} name
 * @param {() => Promise<T>} work
 * @returns {Promise<T>} */
export async function withLock(name, work) {
  const file = join(cacheFolder(), "locks", name);
  const draft = `${file}.${randomUUID()}`;
  const own = `${hostname()} ${process.pid} ${draft.slice(-36)}`;
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(draft, own);
  try {
    for (let waited = 0; ; waited++) {
      try {
        linkSync(draft, file); // atomic, and the lock is never seen without its holder's name
        break;
      } catch (error) {
        if (/** @type {NodeJS.ErrnoException} */ (error).code !== "EEXIST") throw error;
      }
      removeAbandoned(file);
      if (waited === 4) say(`waits for another set-up or build to finish (${file})`);
      await sleep(250);
    }
  } finally {
    rmSync(draft, { force: true });
  }
  // after a silence, a machine that slept, it may have become another's
  const isHeld = () => readText(file) === own;
  const alive = setInterval(() => isHeld() && utimesSync(file, new Date(), new Date()), SILENCE / 4).unref();
  const release = () => isHeld() && rmSync(file, { force: true });
  const onSignal = (/** @type {NodeJS.Signals} */ signal) => {
    release();
    process.off(signal, onSignal);
    process.kill(process.pid, signal);
  };
  const signals = /** @type {const} */ (["SIGINT", "SIGTERM"]);
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    clearInterval(alive);
    release();
  }
}

/** @param {string} file */
function removeAbandoned(file) {
  const seen = readText(file);
  if (seen === "" || !isAbandoned(file, seen)) return;
  // two may see the same dead holder: only one removes, and only if the lock has not changed hands meanwhile
  const removing = `${file}.removing`;
  try {
    mkdirSync(removing);
  } catch {
    const since = statSync(removing, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > SILENCE) rmSync(removing, { recursive: true, force: true });
    return;
  }
  if (readText(file) === seen) rmSync(file, { force: true });
  rmSync(removing, { recursive: true, force: true });
}
