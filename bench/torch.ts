/** PyTorch on one thread, in a process of its own that answers case by case (torch.py). */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Failure } from "../scripts/support.mjs";
import { type Case, type CaseInput, idOf } from "./cases.js";
import type { Engine } from "./engines.js";

/** Starts it; the Python is the one that PERDIDA_PYTHON names, or python3. */
export async function torch(): Promise<Engine> {
  const python = process.env.PERDIDA_PYTHON || "python3";
  const folder = mkdtempSync(join(tmpdir(), "perdida-torch-"));
  const child = spawn(python, [fileURLToPath(new URL("torch.py", import.meta.url))], {
    env: { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" },
    stdio: ["pipe", "pipe", "pipe"],
  });
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    complaint += text;
  });
  child.stdin.on("error", () => {});
  const ended = new Promise<never>((_, fail) => {
    const because = (why: string) =>
      fail(new Failure(`PyTorch: ${why}\nPERDIDA_PYTHON names a Python that has torch (now: ${python})`));
    child.on("error", (error) => because(error.message));
    child.on("close", () => because(complaint.trim().split("\n").at(-1) || "it ended"));
  });
  ended.catch(() => {});
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const next = async () => {
    const { value } = await Promise.race([lines.next(), ended]);
    if (value === undefined) return ended;
    return JSON.parse(value);
  };
  const ask = (question: object) => {
    child.stdin.write(`${JSON.stringify(question)}\n`);
    return next();
  };
  const { version } = await next();

  return {
    name: "PyTorch",
    version,
    async prepare(one: Case, inputs: readonly CaseInput[]) {
      const id = idOf(one);
      const arrays = inputs.map(({ name, data, shape }) => {
        const file = join(folder, name);
        writeFileSync(file, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        return { name, shape, dtype: data instanceof Float32Array ? "float32" : "int32", file };
      });
      const { name, options, rest = [], grads } = one;
      const { answer, unknown } = await ask({ id, name, options, rest, grads, inputs: arrays });
      if (unknown) return undefined;
      return {
        answer,
        samples: async (milliseconds) => (await ask({ id, milliseconds })).samples,
        close: () => void child.stdin.write(`${JSON.stringify({ id, close: true })}\n`),
      };
    },
    close() {
      child.stdin.end();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
