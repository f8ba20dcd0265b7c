/** Where and of what a measurement was made. */
import { arch, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { ROOT, readJson, run } from "../scripts/support.mjs";

/** What two results must share to be compared. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** In GB. */
  readonly memory: number;
  readonly system: string;
}

export function machine(): Machine {
  const list = cpus();
  return {
    cpu: list[0]?.model.trim() ?? "unknown",
    cores: list.length,
    memory: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${arch()}`,
  };
}

/** One line of it. */
export function nameOf({ cpu, cores, memory, system }: Machine): string {
  return `${cpu}, ${cores} cores, ${memory} GB, ${system}`;
}

/** The commit that is checked out, with a plus behind it where what is built differs from it. */
export async function commit(): Promise<string> {
  try {
    const head = (await run("git", ["rev-parse", "--short=12", "HEAD"])).trim();
    const changed = await run("git", [
      "status",
      "--porcelain",
      "--",
      "crates",
      "ts",
      "Cargo.toml",
      "Cargo.lock",
    ]);
    return changed.trim() === "" ? head : `${head}+`;
  } catch {
    return "unknown";
  }
}

/** The library's version. */
export function version(): string {
  return readJson(join(ROOT, "package.json")).version;
}
