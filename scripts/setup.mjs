/**
 * Everything a fresh clone needs: a Rust that can build for wasm32-unknown-unknown, wasm-pack and wasm-bindgen, the npm
 * packages. Safe to run again: what is there is left alone, and when all is there it takes a fraction of a second.
 *
 * PERDIDA_RUST=auto|present|rustup|debian  which way to the wasm32 target; auto tries them in this order
 * PERDIDA_CACHE=folder                     where tools are kept between clones
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  attempt,
  cacheFolder,
  environment,
  Failure,
  hashOf,
  isMain,
  npm,
  ROOT,
  readJson,
  readText,
  run,
  say,
  script,
  step,
  WINDOWS,
  withLock,
  writeWhole,
} from "./support.mjs";

const TARGET = "wasm32-unknown-unknown";
const WASM_PACK = "0.15.1";
const RECORD = join(ROOT, ".toolchain.json");
const INSTALLED = join(ROOT, "node_modules/.perdida-installed");
/** Raised when what a way or a cached folder consists of changes. */
const EDITION = 1;

/**
 * What set-up found, as written to .toolchain.json.
 * @typedef {object} Toolchain
 * @property {number} edition
 * @property {string} asked PERDIDA_RUST
 * @property {string} way how the target was come by
 * @property {string} rustc `rustc -vV` of the Rust that builds the wasm
 * @property {string} native the same of the Rust that builds native programs
 * @property {string} libdir the target's standard library
 * @property {string[]} wasmPath folders before PATH for building the wasm: its Rust
 * @property {string[]} nativePath the same for native programs: empty where the Rust on PATH serves
 * @property {string} tools folder of wasm-pack and wasm-bindgen
 */

/** The environment in which the wasm is built. @param {Toolchain} toolchain @param {Record<string, string>} [extra] */
export function wasmEnvironment(toolchain, extra) {
  return environment([toolchain.tools, ...toolchain.wasmPath], extra);
}

/** The environment in which native Rust is built and checked. @param {Toolchain} toolchain */
export function nativeEnvironment(toolchain) {
  return environment(toolchain.nativePath);
}

/** @param {string} text @param {RegExp} pattern */
const first = (text, pattern) => pattern.exec(text)?.[1] ?? "";
const wasmBindgenVersion = () =>
  first(readText(join(ROOT, "Cargo.lock")), /^name = "wasm-bindgen"\r?\nversion = "([^"]+)"/m);
const oldestRust = () => first(readText(join(ROOT, "Cargo.toml")), /^rust-version = "([^"]+)"/m);

/** @param {string} version @param {string} least */
function isAtLeast(version, least) {
  const [a, b] = [version, least].map((v) => v.split(".").map(Number));
  for (let i = 0; i < 2; i++) if (a?.[i] !== b?.[i]) return (a?.[i] ?? 0) > (b?.[i] ?? 0);
  return true;
}

/** The Rust found with some folders before PATH.
 * @param {string[]} path
 * @returns {Promise<{ version: string, text: string, usable: boolean } | undefined>} */
async function rustOn(path) {
  const { ok, stdout } = await attempt("rustc", ["-vV"], { env: environment(path), cwd: cacheFolder() });
  if (!ok) return undefined;
  const version = first(stdout, /^release: (\S+)/m);
  return { version, text: stdout, usable: isAtLeast(version, oldestRust()) };
}

/** @param {string} libdir */
function hasStd(libdir) {
  return existsSync(libdir) && readdirSync(libdir).some((name) => /^libcore-.*\.rlib$/.test(name));
}

/** Where the Rust of these folders keeps the target's standard library; undefined where it has none.
 * @param {string[]} path */
async function targetLibdir(path) {
  const { ok, stdout } = await attempt("rustc", ["--print", "target-libdir", "--target", TARGET], {
    env: environment(path),
    cwd: cacheFolder(),
  });
  const libdir = stdout.trim();
  return ok && hasStd(libdir) ? libdir : undefined;
}

/** A way that did not lead there: why. */
class NoWay extends Error {}

/** @typedef {{ wasmPath: string[], libdir: string }} Found */

/** The ways to the target, in the order in which they are tried. @type {Record<string, () => Promise<Found>>} */
const ways = {
  async present() {
    const rust = await rustOn([]);
    if (rust === undefined) throw new NoWay("no rustc on PATH");
    if (!rust.usable) throw new NoWay(`rustc ${rust.version} is older than ${oldestRust()}`);
    const libdir = await targetLibdir([]);
    if (libdir === undefined) throw new NoWay(`rustc ${rust.version} has no ${TARGET}`);
    return { wasmPath: [], libdir };
  },

  async rustup() {
    const { ok: isThere } = await attempt("rustup", ["--version"]);
    if (!isThere) throw new NoWay("no rustup on PATH");
    const rust = await rustOn([]);
    if (rust === undefined) throw new NoWay("rustup has no default toolchain (rustup default stable)");
    if (!rust.usable)
      throw new NoWay(`rustc ${rust.version} is older than ${oldestRust()} (rustup update stable)`);
    const { ok, output } = await step(`rustup target add ${TARGET}`, () =>
      // where Rust's host is not reached: an answer within seconds, and in no case a wait without an end
      attempt("rustup", ["target", "add", TARGET], {
        env: environment([], { RUSTUP_MAX_RETRIES: "0", RUSTUP_DOWNLOAD_TIMEOUT: "20", RUST_BACKTRACE: "0" }),
        timeout: 120_000,
        cwd: cacheFolder(),
      }),
    );
    const libdir = await targetLibdir([]);
    if (libdir !== undefined) return { wasmPath: [], libdir };
    throw new NoWay(
      ok ? `rustup added the target, but rustc ${rust.version} does not see it` : lastError(output),
    );
  },

  async debian() {
    if (!existsSync("/etc/debian_version")) throw new NoWay("this is not Debian");
    const source = await debianPackages();
    const text = await run("/usr/bin/rustc", ["-vV"]);
    const host = first(text, /^host: (\S+)/m);
    const commit = first(text, /^commit-hash: (\S+)/m);
    const prefix = join(cacheFolder(), `rust-web-${EDITION}-${commit.slice(0, 12)}`);
    const libdir = join(prefix, "lib/rustlib", TARGET, "lib");
    if (!hasStd(libdir)) await buildPrefix(prefix, source, host);
    if ((await targetLibdir([join(prefix, "bin")])) === undefined)
      throw new NoWay(`the std in ${prefix} is not found`);
    return { wasmPath: [join(prefix, "bin")], libdir };
  },
};

/** @param {string} output */
function lastError(output) {
  const lines = output.trim().split("\n");
  return (lines.findLast((line) => /error/i.test(line)) ?? lines.at(-1) ?? "").trim();
}

/** The name of an executable that comes with a version behind it. @param {string} name */
function versioned(name) {
  const names = readdirSync("/usr/bin").filter(
    (file) => file === name || new RegExp(`^${name}-\\d+$`).test(file),
  );
  const version = (/** @type {string} */ file) => Number(file.slice(name.length + 1));
  return names.sort((a, b) => version(b) - version(a))[0];
}

/** Debian's Rust with its sources and a linker for wasm. @returns {Promise<string>} the folder of std's sources */
async function debianPackages() {
  const packages = ["rustc-web", "cargo-web", "rust-web-src", "lld-19", "gcc", "libc6-dev"];
  // without rustup these are also the tools of the native checks
  if ((await rustOn([]))?.usable !== true || !(await attempt("rustup", ["--version"])).ok) {
    packages.push("rustfmt-web", "rust-web-clippy");
  }
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are dpkg's
  const format = "${db:Status-Status} ${Package}\\n";
  const { stdout } = await attempt("dpkg-query", ["-W", "-f", format, ...packages]);
  const states = new Set(stdout.split("\n"));
  const missing = packages.filter((name) => !states.has(`installed ${name}`));
  if (missing.length > 0) {
    const command = `apt-get install --no-install-recommends ${missing.join(" ")}`;
    if (process.getuid?.() !== 0) throw new NoWay(`needs root for: ${command}`);
    const env = environment([], { DEBIAN_FRONTEND: "noninteractive" });
    await step(command, async (tell) => {
      const wait = ["-o", "DPkg::Lock::Timeout=300"];
      await attempt("apt-get", [...wait, "update", "-qq"], { env, tell });
      const install = [...wait, "install", "-y", "--no-install-recommends", ...missing];
      const { ok, output } = await attempt("apt-get", install, { env, tell });
      if (!ok) throw new NoWay(`${command}: ${lastError(output)}`);
    });
  }
  const version = first(await run("/usr/bin/rustc", ["-vV"]), /^release: (\S+)/m);
  if (!isAtLeast(version, oldestRust()))
    throw new NoWay(`Debian's rustc ${version} is older than ${oldestRust()}`);
  const source = `/usr/src/rustc-${version}/library`;
  if (!existsSync(join(source, "vendor")))
    throw new NoWay(`no ${source}/vendor: rust-web-src is of another version`);
  return source;
}

/** Builds std for the target from Debian's sources, into a folder laid out as a toolchain.
 * @param {string} prefix @param {string} source @param {string} host */
async function buildPrefix(prefix, source, host) {
  const work = `${prefix}.work`;
  rmSync(work, { recursive: true, force: true });
  const made = join(work, "prefix");
  const libdir = join(made, "lib/rustlib", TARGET, "lib");
  const hostFolder = join(made, "lib/rustlib", host);
  for (const folder of [join(work, "src"), join(made, "bin"), libdir, join(hostFolder, "bin")])
    mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(work, "Cargo.toml"),
    '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\npanic = "abort"\n[workspace]\n',
  );
  writeFileSync(join(work, "src/lib.rs"), "#![no_std]\n");
  await step(
    `builds Rust's standard library for ${TARGET} (a minute, once for this version of Rust)`,
    (tell) =>
      run(
        "/usr/bin/cargo",
        [
          ...["build", "--release", "--offline", "--target", TARGET],
          ...["-Z", "build-std=std,panic_abort", "-Z", "build-std-features="],
          ...[
            "--config",
            'source.crates-io.replace-with="v"',
            "--config",
            `source.v.directory="${source}/vendor"`,
          ],
        ],
        {
          cwd: work,
          tell,
          // bitcode: cargo leaves it out of release builds, and then fat link-time optimisation cannot take this std in.
          // No simd128: a build of ours turns features on for its own crates, so that the scalar one stays scalar.
          env: environment([], {
            RUSTFLAGS: "-C embed-bitcode=yes",
            RUSTC_BOOTSTRAP: "1",
            RUSTC: "/usr/bin/rustc",
            CARGO_TARGET_DIR: join(work, "target"),
          }),
        },
      ),
  );
  const built = join(work, "target", TARGET, "release/deps");
  for (const name of readdirSync(built)) {
    if (/^lib.*\.rlib$/.test(name) && !name.startsWith("libempty"))
      cpSync(join(built, name), join(libdir, name));
  }
  // the wrappers know the final place, so that `rustc --print sysroot`, which wasm-pack asks, says it too
  for (const name of ["rustc", "rustdoc"]) {
    writeFileSync(join(made, "bin", name), `#!/bin/sh\nexec /usr/bin/${name} --sysroot '${prefix}' "$@"\n`);
    chmodSync(join(made, "bin", name), 0o755);
  }
  symlinkSync("/usr/bin/cargo", join(made, "bin/cargo"));
  symlinkSync(`/usr/lib/rustlib/${host}/lib`, join(hostFolder, "lib"));
  // the name that rustc asks for
  symlinkSync(realpathSync(`/usr/bin/${versioned("lld")}`), join(hostFolder, "bin/rust-lld"));
  rmSync(prefix, { recursive: true, force: true });
  renameSync(made, prefix);
  rmSync(work, { recursive: true, force: true });
}

/** Goes the ways in their order until one leads to the target.
 * @returns {Promise<Found & { way: string }>} */
async function findRust() {
  const wanted = wantedWay();
  const tried = [];
  for (const [way, go] of Object.entries(ways)) {
    if (wanted !== "auto" && wanted !== way) continue;
    try {
      return { way, ...(await go()) };
    } catch (error) {
      if (!(error instanceof NoWay)) throw error;
      tried.push(`  ${way.padEnd(8)} ${error.message}`);
    }
  }
  throw new Failure(`perdida needs a Rust, ${oldestRust()} or newer, that can build for ${TARGET}. Tried${
    wanted === "auto" ? "" : ` (PERDIDA_RUST=${wanted})`
  }:
${tried.join("\n")}

Any one of these helps; then run the same command again:
  - Rust by rustup (see https://rustup.rs), then: rustup target add ${TARGET}
  - on Debian, as root: apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19`);
}

function wantedWay() {
  const wanted = process.env.PERDIDA_RUST || "auto";
  if (wanted === "auto" || wanted in ways) return wanted;
  throw new Failure(`PERDIDA_RUST is "${wanted}", expected one of auto, ${Object.keys(ways).join(", ")}`);
}

const executable = (/** @type {string} */ name) => (WINDOWS ? `${name}.exe` : name);

/** The folder of wasm-pack and of the wasm-bindgen that Cargo.lock names: one per pair of versions, in the cache. */
function toolsFolder() {
  return join(
    cacheFolder(),
    `tools-${EDITION}-wasm-pack-${WASM_PACK}-wasm-bindgen-${wasmBindgenVersion()}`,
    "bin",
  );
}

const TOOLS = /** @type {const} */ ({ "wasm-bindgen": "wasm-bindgen-cli", "wasm-pack": "wasm-pack" });
const toolsAreThere = () =>
  Object.keys(TOOLS).every((name) => existsSync(join(toolsFolder(), executable(name))));

/** Builds the tools that are missing, for speed of building, not of running: they take milliseconds as it is.
 * @param {string[]} nativePath */
async function installTools(nativePath) {
  const target = join(cacheFolder(), "build");
  const env = environment(nativePath, {
    CARGO_TARGET_DIR: target,
    CARGO_PROFILE_RELEASE_OPT_LEVEL: "0",
    CARGO_PROFILE_RELEASE_LTO: "off",
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16",
    CARGO_PROFILE_RELEASE_DEBUG: "false",
  });
  for (const [name, crate] of Object.entries(TOOLS)) {
    if (existsSync(join(toolsFolder(), executable(name)))) continue;
    const version = name === "wasm-pack" ? WASM_PACK : wasmBindgenVersion();
    const install = ["install", `${crate}@${version}`, "--root", join(toolsFolder(), ".."), "--force"];
    await step(`builds ${name} ${version} (a minute or two, once for this version)`, async (tell) => {
      // as its authors locked it; anew where the registry lacks a version that the lock names
      const options = { env, cwd: cacheFolder(), tell };
      if ((await attempt("cargo", [...install, "--locked"], options)).ok) return;
      await run("cargo", install, {
        ...options,
        hint: "A C compiler and a linker are needed too (Debian: gcc libc6-dev).",
      });
    });
  }
  rmSync(target, { recursive: true, force: true });
}

/** What the installed npm packages depend on. */
const npmState = () => hashOf(["package-lock.json"], [process.platform, process.arch]);

async function installPackages() {
  if (readText(INSTALLED) === npmState()) return;
  const [command, args] = npm(["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
  await step("installs the npm packages", (tell) => run(command, args, { tell }));
  writeFileSync(INSTALLED, npmState());
}

/** What an earlier run found, if all of it still holds. @returns {Promise<Toolchain | undefined>} */
async function known() {
  /** @type {Toolchain | undefined} */
  const toolchain = readJson(RECORD);
  if (toolchain?.edition !== EDITION || toolchain.asked !== wantedWay()) return undefined;
  if (toolchain.tools !== toolsFolder() || !toolsAreThere() || !hasStd(toolchain.libdir)) return undefined;
  const [rust, native] = await Promise.all([rustOn(toolchain.wasmPath), rustOn(toolchain.nativePath)]);
  return rust?.text === toolchain.rustc && native?.text === toolchain.native ? toolchain : undefined;
}

async function findToolchain() {
  const before = await known();
  if (before !== undefined) return before;
  return withLock("tools", async () => {
    const { way, wasmPath, libdir } = await findRust();
    const [rust, onPath] = await Promise.all([rustOn(wasmPath), rustOn([])]);
    say(`Rust ${rust?.version} builds for ${TARGET} (way: ${way})`);
    const nativePath = onPath?.usable ? [] : wasmPath;
    await installTools(nativePath);
    const native = nativePath === wasmPath ? rust : onPath;
    const [rustc, nativeRustc] = [rust?.text ?? "", native?.text ?? ""];
    const paths = { libdir, wasmPath, nativePath, tools: toolsFolder() };
    const toolchain = { edition: EDITION, asked: wantedWay(), way, rustc, native: nativeRustc, ...paths };
    writeWhole(RECORD, `${JSON.stringify(toolchain, null, 2)}\n`);
    return toolchain;
  });
}

/** The name of this clone's own lock. */
export const CLONE_LOCK = `clone-${hashOf([], [ROOT]).slice(0, 16)}`;

/** Does what is missing. @returns {Promise<Toolchain>} */
export async function setup() {
  if (!isAtLeast(process.versions.node, "20.19")) {
    throw new Failure(`perdida is built with Node 20.19 or newer; this is ${process.versions.node}`);
  }
  mkdirSync(cacheFolder(), { recursive: true });
  // the two have nothing to do with each other; a failure waits for the other's end, so that nothing runs on unseen
  const packages = readText(INSTALLED) === npmState() ? undefined : withLock(CLONE_LOCK, installPackages);
  const [toolchain, installed] = await Promise.allSettled([findToolchain(), packages]);
  if (toolchain.status === "rejected") throw toolchain.reason;
  if (installed.status === "rejected") throw installed.reason;
  say(
    `set up: Node ${process.versions.node}, Rust ${first(toolchain.value.rustc, /^release: (\S+)/m)} (way: ${toolchain.value.way})`,
  );
  return toolchain.value;
}

if (isMain(import.meta.url)) await script(setup);
