/** In the place of every door where there is no core: the reference answers. */
export const door = undefined;
