/** React Native: the bundler of its apps, Metro with their Babel preset, and their engine, Hermes, which has no WebAssembly. */
import { join } from "node:path";
import { run } from "../../scripts/support.mjs";
import type { Platform, Result } from "./platform.js";
import { program } from "./program.js";
import { answerOf, binary, NotHere, project, TOOLS, tool, versionOf } from "./workshop.js";

const PROGRAMS: Readonly<Record<string, string>> = {
  darwin: "osx-bin",
  linux: "linux64-bin",
  win32: "win64-bin",
};

/** What a new app has, without the parts of the phone. */
const CONFIG = `
module.exports = {
  projectRoot: __dirname,
  watchFolders: ${JSON.stringify(["@babel/runtime", "metro-runtime"].map((name) => join(TOOLS, name)))},
  resolver: { unstable_conditionNames: ["react-native"] },
};
`;

export const reactNative: Platform = {
  name: "Hermes (React Native)",
  word: "hermes",
  async run() {
    const folderOfSystem = PROGRAMS[process.platform];
    // its program for Linux is one for x64
    if (folderOfSystem === undefined || process.arch !== "x64")
      throw new NotHere(`hermes-engine-cli has no program for ${process.platform} ${process.arch}`);
    const hermes = binary("hermes-engine-cli", `${folderOfSystem}/hermes`, `${folderOfSystem}/hermes.exe`);
    const version = versionOf("hermes-engine-cli");
    const results: Result[] = [];
    for (const [i, from] of ["perdida", "perdida/js"].entries()) {
      const cwd = await project(`hermes${i}`, {
        "main.js": program({ from }, "print"),
        "metro.config.cjs": CONFIG,
        "babel.config.json": JSON.stringify({ presets: [join(TOOLS, "@react-native/babel-preset")] }),
      });
      const args = [tool("metro/src/cli.js"), "build", "main.js", "--out", "out", "--dev", "false"];
      await run(process.execPath, [...args, "--config", "metro.config.cjs"], { cwd });
      const way = `bundle of Metro ${versionOf("metro")}, \`${from}\``;
      results.push({ way, version, engine: "js", answer: await answerOf(hermes, ["-w", "out.js"], cwd) });
    }
    return results;
  },
};
