/** The rivals from npm, each an engine; see README.md in this folder. */
import type { Engine } from "../engines.js";
import { hnswlib } from "./hnswlib.js";
import { install } from "./load.js";
import { onnxruntime } from "./onnxruntime.js";
import { plain } from "./plain.js";
import { simsimd } from "./simsimd.js";
import { tensorflow } from "./tfjs.js";

/** All of them; their packages are installed first where need be. */
export async function peers(): Promise<Engine[]> {
  await install();
  return [plain(), ...(await tensorflow()), onnxruntime(), simsimd(), hnswlib()].filter(
    (engine) => engine !== undefined,
  );
}
