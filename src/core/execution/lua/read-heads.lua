--[[
  Which delivery is the next of each of these queues of a pool: one that waits, one that was put off and whose
  time has come, or one whose taker has died. A queue that nobody takes from keeps the last two as they are.
  Workers of the pool write these keys: what is of another type holds nothing.

    KEYS[1]  list of what waits in the first queue, for routing in a cluster
    ARGV     per queue: what stands before the parts of its keys
  Returns per queue the name of its next delivery, or ""
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function oldestOf(list)
  local name = redis.pcall('LINDEX', list, -1)
  return type(name) == 'string' and name or nil
end

-- BullMQ keeps `ms * 4096 + counter` as the score.
local function dueOf(delayed)
  local due = redis.pcall('ZRANGEBYSCORE', delayed, '-inf', now * 4096, 'LIMIT', 0, 1)
  return type(due[1]) == 'string' and due[1] or nil
end

local function orphanOf(base)
  local name = oldestOf(base .. 'active')
  return name and redis.call('EXISTS', base .. name .. ':lock') == 0 and name or nil
end

local heads = {}
for at, base in ipairs(ARGV) do
  heads[at] = oldestOf(base .. 'wait') or dueOf(base .. 'delayed') or orphanOf(base) or ''
end
return heads
