/** A Lua function for scripts that ask whether the engine of a claim began; see its header. */
export const BEGUN = new URL('./lua/begun.lua', import.meta.url);
