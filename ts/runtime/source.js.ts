/** No core, ever: WebAssembly is not attempted. */
export const source = null;
