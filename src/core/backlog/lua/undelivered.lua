--[[
  Which of the released jobs BullMQ does not have: neither a delivery of their own nor the pack that they were
  released in. Workers of the pool write its keys: what is of another type holds nothing, and no list is
  searched further than any honest one is long.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  queue   ARGV[3]  what stands before the parts of the queue
    ARGV[4]  longest honest list           ARGV[5]  longest honest delay, ms
    ARGV[6+] per job: id, name of its own delivery
  Returns the ids of those that are missing.
]]
local packs, base, longest, farthest = keys.packs(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local now = redis.call('TIME')[1] * 1000
local function stands(name)
  -- A key of another type than BullMQ's is no delivery: whoever is handed it can do nothing with it.
  if redis.call('TYPE', base .. name).ok ~= 'hash' then return false end
  for _, list in ipairs({ 'wait', 'active' }) do
    local place = redis.pcall('LPOS', base .. list, name, 'MAXLEN', longest)
    if type(place) == 'number' then return true end
  end
  -- BullMQ keeps `ms * 4096 + counter` as the score.
  local score = redis.pcall('ZSCORE', base .. 'delayed', name)
  return type(score) == 'string' and tonumber(score) / 4096 <= now + farthest
end
local missing = {}
for at = 6, #ARGV, 2 do
  local pack = redis.call('HGET', packs, ARGV[at])
  if not stands(ARGV[at + 1]) and not (pack and stands(pack)) then missing[#missing + 1] = ARGV[at] end
end
return missing
