/** Lua functions for scripts that look after what waits in the bands of a queue; see its header. */
export const LANES = new URL('./lua/lanes.lua', import.meta.url);
/** Lua functions for the script that releases jobs, behind `LANES`; see its header. */
export const BAND_TURNS = new URL('./lua/band-turns.lua', import.meta.url);
/** Lua functions for scripts that look after who goes first within a flow; see its header. */
export const TURNS = new URL('./lua/turns.lua', import.meta.url);
/** Lua functions for scripts that enter jobs in a backlog, behind those of `TURNS`; see its header. */
export const FAIR_PLACE = new URL('./lua/fair-place.lua', import.meta.url);
/** Lua functions for scripts that look after jobs which are not to begin yet; see its header. */
export const LATER = new URL('./lua/later.lua', import.meta.url);
/** Lua functions for scripts that foresee where such a job stands when its time has come, behind `LATER`. */
export const DUE_PLACE = new URL('./lua/due-place.lua', import.meta.url);
/** Lua functions for scripts that take open jobs out of their sets; see its header. */
export const LEAVE = new URL('./lua/leave.lua', import.meta.url);
/** Lua functions for scripts that queue jobs again, or release them; see its header. */
export const RETRY_BUDGET = new URL('./lua/retry-budget.lua', import.meta.url);
/** Lua functions for scripts that look after limits on what workers have at once; see its header. */
export const AT_WORK = new URL('./lua/at-work.lua', import.meta.url);
/** Lua functions for the script that releases jobs, behind the parts that its header names. */
export const TAKE = new URL('./lua/take.lua', import.meta.url);
