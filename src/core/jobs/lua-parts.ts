/** A Lua function for scripts that ask for jobs to be cancelled; see its header. */
export const ASK_CANCEL = new URL('./lua/ask-cancel.lua', import.meta.url);
/** A Lua function for scripts that ask whether the engine of a claim began; see its header. */
export const BEGUN = new URL('./lua/begun.lua', import.meta.url);
