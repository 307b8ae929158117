--[[
  Included by the scripts that look after limits on what workers have at once.

  A tenant, or an API key of it, may have only so many jobs at work: released or claimed, in all its queues.
  `runninglimits` says how many, by `<tenant>` and `<tenant> <key>`: `<in all> <of each model> <account>`, "-"
  where there is no such limit. Keys that replaced one another have one account, and one count.

  What is at work under a limit stands in `atwork`. Nobody takes out what has left the workers: whoever finds
  too little room looks for that, at a bounded number of jobs, those first that were not looked at for
  longest.

    limitsOn(tenant, key, model)    the limits that a job stands under, each { name, set, most }; the name is
                                    `<tenant>/<account or "-">/<model or "*">`
    roomUnder(limit, wanted, nowMs) how many more jobs it allows; where they are fewer than wanted, exactly
    enterWork(limits, queue, id, nowMs)   one more is at work; the caller adds it to `released`
]]
local mostLooked = 100
-- Longer than any deadline.
local atWorkMs = 25 * 3600 * 1000
local allowances, rooms, entered = {}, {}, {}

local function allowedTo(holder)
  if not allowances[holder] then
    local kept = redis.call('HGET', keys.runningLimits, holder) or ''
    local all, each, account = string.match(kept, '^(%S+) (%S+) (%S+)$')
    allowances[holder] = { all = tonumber(all), each = tonumber(each), account = account }
  end
  return allowances[holder]
end

local function limitsOn(tenant, key, model)
  local limits = {}
  local function add(most, account, what)
    if not most then return end
    local scope = account .. '/' .. what
    limits[#limits + 1] = { name = tenant .. '/' .. scope, set = keys.atWork(tenant, scope), most = most }
  end
  for _, holder in ipairs({ tenant, tenant .. ' ' .. (key or '') }) do
    local allowed = allowedTo(holder)
    add(allowed.all, allowed.account, '*')
    add(allowed.each, allowed.account, model)
  end
  return limits
end

-- Takes out what has left the workers; returns how many that were.
local function forgetLeft(set, nowMs)
  local byQueue, gone, there = {}, {}, {}
  for _, member in ipairs(redis.call('ZRANGE', set, 0, mostLooked - 1)) do
    local queue, id = string.match(member, '^(%S+) (%S+)$')
    byQueue[queue] = byQueue[queue] or {}
    table.insert(byQueue[queue], id)
  end
  for queue, ids in pairs(byQueue) do
    local released = redis.call('ZMSCORE', keys.released(queue), unpack(ids))
    local claimed = redis.call('ZMSCORE', keys.leases(queue), unpack(ids))
    for at, id in ipairs(ids) do
      if not released[at] and not claimed[at] and not entered[id] then gone[#gone + 1] = queue .. ' ' .. id
      else
        there[#there + 1] = nowMs
        there[#there + 1] = queue .. ' ' .. id
      end
    end
  end
  if #gone > 0 then redis.call('ZREM', set, unpack(gone)) end
  if #there > 0 then redis.call('ZADD', set, 'XX', unpack(there)) end
  return #gone
end

local function roomUnder(limit, wanted, nowMs)
  local room = rooms[limit.name]
  if not room then
    room = { left = limit.most - redis.call('ZCARD', limit.set) }
    rooms[limit.name] = room
  end
  if room.left < wanted and not room.isExact then
    room.left = room.left + forgetLeft(limit.set, nowMs)
    room.isExact = true
  end
  return room.left
end

local function enterWork(limits, queue, id, nowMs)
  entered[id] = true
  for _, limit in ipairs(limits) do
    rooms[limit.name].left = rooms[limit.name].left - 1
    redis.call('ZADD', limit.set, nowMs, queue .. ' ' .. id)
    redis.call('PEXPIRE', limit.set, atWorkMs)
  end
end
