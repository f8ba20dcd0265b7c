/** What the fuzzer has found: the shortest programs that showed it. They are run with the tests. */
import type { Step } from "./program.js";

export const FOUND: readonly { readonly what: string; readonly steps: readonly Step[] }[] = [
  {
    // test/memory.test.ts says it in words
    what: "a getter among the outputs gave a tensor's block to another, which the gradient was then written to",
    steps: [
      { kind: "call", seed: 263859262 },
      { kind: "allocate", seed: 0 },
      { kind: "call", seed: 1031124226 },
      { kind: "callback", seed: 950721707 },
    ],
  },
  {
    what: "the js engine refused numbers of a target that was broadcast to nothing, the core did not",
    steps: [{ kind: "wrong", seed: 19513191 }],
  },
  {
    what: "an expectation of the fuzzer's: doubles that are asked for where a gradient was broadcast have their digits",
    steps: [
      { kind: "callback", seed: 1054883657 },
      { kind: "call", seed: 0 },
    ],
  },
  {
    what: "energies of nothing but holes ended in an error of the engine's",
    steps: [
      { kind: "wrong", seed: 1572528439 },
      { kind: "call", seed: 0 },
    ],
  },
  {
    what: "an expectation of the fuzzer's: the difference of two distances is as exact as these",
    steps: [
      { kind: "call", seed: 1809863810 },
      { kind: "call", seed: 0 },
    ],
  },
];
