/** A Lua function for scripts that may lose a message; see its header. */
export const LOSE = new URL('./lua/lose.lua', import.meta.url);
