/**
 * The few things of the surroundings that are used where they exist. Read at each use, never at import; typed here so that
 * neither this library nor its declarations ask for the types of a browser or of Node.
 */
import { tag } from "../errors.js";
import type { TypedArray } from "../types.js";

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}
/** A compiled module, opaque. */
export type WasmModule = object;
/** An instance of a part of the core. */
export interface WasmInstance {
  readonly exports: object;
}
/** A response as fetch gives it. */
export interface ResponseLike {
  readonly ok: boolean;
  readonly status: number;
  readonly url?: string;
  arrayBuffer(): Promise<ArrayBuffer>;
}
export interface WasmNamespace {
  Module: new (bytes: ArrayBufferView | ArrayBuffer) => WasmModule;
  Instance: new (module: WasmModule, imports?: object) => WasmInstance;
  Memory: new (size: { initial: number }) => WasmMemory;
  validate(bytes: ArrayBufferView | ArrayBuffer): boolean;
  compile(bytes: ArrayBufferView | ArrayBuffer): Promise<WasmModule>;
  instantiate(module: WasmModule, imports?: object): Promise<WasmInstance>;
}
interface Registry<T> {
  register(target: object, held: T, token: object): void;
  unregister(token: object): void;
}
interface FileSystem {
  readFile(url: object): Promise<Uint8Array>;
}
export interface Platform {
  WebAssembly?: WasmNamespace;
  Buffer?: { from(text: string, encoding: "base64"): Uint8Array };
  atob?(text: string): string;
  fetch?(url: string): Promise<ResponseLike>;
  URL?: new (url: string) => object;
  process?: { getBuiltinModule?(name: "node:fs/promises"): FileSystem | undefined };
  FinalizationRegistry?: new <T>(cleanup: (held: T) => void) => Registry<T>;
}

/** The global object, as far as it is used here. */
export function platform(): Platform {
  return globalThis as unknown as Platform;
}
export type { Registry };

/** The class of typed arrays, of this realm's own, that an array is of whatever it says of itself. */
export function ownClass<A extends TypedArray>(array: A): ViewClass<A> {
  return (globalThis as unknown as Record<string, ViewClass<A>>)[tag(array)] as ViewClass<A>;
}
interface ViewClass<A> {
  readonly prototype: object;
  new (buffer: ArrayBufferLike, offset: number, length: number): A;
}

/** A view of a typed array's own class, by none of its methods: those of a subclass, and its species, are code of the caller's. */
export function viewOf<A extends TypedArray>(
  array: A,
  buffer: ArrayBufferLike,
  offset: number,
  length: number,
): A {
  return new (ownClass(array))(buffer, offset, length);
}
