--[[
  Which deliveries BullMQ does not have. Workers of the pool write its keys: what is of another type holds
  nothing, and no list is searched further than any honest one is long.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  what stands before the parts of the queue   ARGV[2]  longest honest list
    ARGV[3]  longest honest delay, ms                    ARGV[4+] names of deliveries
  Returns the names that are missing.
]]
local base, longest, farthest = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = redis.call('TIME')[1] * 1000
local function stands(name)
  if redis.pcall('EXISTS', base .. name) ~= 1 then return false end
  for _, list in ipairs({ 'wait', 'active' }) do
    local place = redis.pcall('LPOS', base .. list, name, 'MAXLEN', longest)
    if type(place) == 'number' then return true end
  end
  -- BullMQ keeps `ms * 4096 + counter` as the score.
  local score = redis.pcall('ZSCORE', base .. 'delayed', name)
  return type(score) == 'string' and tonumber(score) / 4096 <= now + farthest
end
local missing = {}
for at = 4, #ARGV do
  if not stands(ARGV[at]) then missing[#missing + 1] = ARGV[at] end
end
return missing
