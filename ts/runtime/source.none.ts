/** No core in this bundle: `ready(source)` brings it. */
export const source = undefined;
