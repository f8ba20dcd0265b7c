/** What the scripts stand on: whether one was started, and locks. */
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test, vi } from "vitest";
import { attempt, cacheFolder, ROOT, withLock } from "../scripts/support.mjs";

const folder = mkdtempSync(join(tmpdir(), "perdida-scripts-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a script does its work by whichever path it was started", async () => {
  // the kind that Windows lets everybody make
  symlinkSync(join(ROOT, "scripts"), join(folder, "linked"), "junction");
  // it refuses this word before it does anything
  const started = (path: string) => attempt(process.execPath, [path, "nothing"]);
  for (const path of [join(ROOT, "scripts/build.mjs"), join(folder, "linked/build.mjs")])
    expect((await started(path)).output, path).toContain("nothing is none of wasm, js, all");
});

test("a lock that was taken over meanwhile stays with its new holder", async () => {
  vi.stubEnv("PERDIDA_CACHE", folder);
  const file = join(cacheFolder(), "locks/some");
  await withLock("some", async () => writeFileSync(file, "another 1 of its own"));
  expect(existsSync(file)).toBe(true);
  rmSync(file);
  await withLock("some", async () => expect(existsSync(file)).toBe(true));
  expect(existsSync(file)).toBe(false);
  vi.unstubAllEnvs();
});
