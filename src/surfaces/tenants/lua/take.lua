--[[
  Take from several allowances at once, or from none of them; see allowance.lua.

    KEYS[n]    the n-th allowance  {shard}:limit:<…>    ARGV[3n-2]  quota, units
                                                        ARGV[3n-1]  window, ms
                                                        ARGV[3n]    units to take
  Returns for each allowance { granted, units left, ms until it is whole, ms until this much can be taken }.
  `granted` is 1 or 0, the same for all.
]]
local states, granted = {}, 1
for n = 1, #KEYS do
  local quota, window, units = tonumber(ARGV[3 * n - 2]), tonumber(ARGV[3 * n - 1]), tonumber(ARGV[3 * n])
  states[n] = allowance(KEYS[n], quota, window, units, 0)
  if states[n].wait > 0 then granted = 0 end
end
local replies = {}
for n = 1, #KEYS do
  if granted == 1 then grant(states[n]) end
  local left, wholeMs = told(states[n])
  replies[n] = { granted, left, wholeMs, math.ceil(math.max(0, states[n].wait)) }
end
return replies
