/** What all platforms have in common. */
import type { Answer } from "./program.js";

/** One way of using the library on a platform, and what came out. */
export interface Result {
  readonly way: string;
  readonly version: string;
  /** The engine that must have answered; for type checks there is none. */
  readonly engine?: "wasm" | "js";
  readonly answer?: Answer;
  /** How many violations of a content security policy there must have been; more than none where it is true. */
  readonly violations?: boolean;
}

/** A runtime, a browser, a bundler, a compiler. */
export interface Platform {
  readonly name: string;
  /** How the command line names it. */
  readonly word: string;
  run(): Promise<readonly Result[]>;
}
