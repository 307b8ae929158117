/** Lua functions for scripts that change what a job may still cost; see its header. */
export const RESERVE = new URL('./lua/reserve.lua', import.meta.url);
/** Lua functions for scripts that count what is spent by day and month; see its header. */
export const PERIOD = new URL('./lua/period.lua', import.meta.url);
