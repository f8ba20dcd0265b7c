/** A module that adds two vectors: valid only where SIMD is known. */
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98,
  11,
];
/** The head of a section of 4096 bytes that means nothing. */
const FILLING = [0, 128, 32];

/**
 * A module that is refused where the core would be. It is filled up so that it is no smaller than what some browsers compile on their main
 * thread (4 KB).
 */
export function probe(): Uint8Array {
  const head = [...SIMD, ...FILLING];
  const bytes = new Uint8Array(head.length + 4096);
  bytes.set(head);
  return bytes;
}
