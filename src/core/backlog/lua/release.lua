--[[
  Release: give the next jobs of backlogs to the workers, as many as there is room for. There is room for
  the slots of the workers that are there and for a margin, less what was released already and what runs: an
  engine that ends a job finds the next one waiting, and hardly anything waits where workers can spoil it.
  The margin is as many jobs again as there are slots, or what is released in a moment (`ahead`), if that is
  more. The cost is that of the jobs that are moved, whatever waits.

  Short jobs go as packs: one delivery with several jobs of one flow, which one place runs one after the
  other. By what such jobs took, a pack holds what takes `momentMs`, which no place is worth, and where there
  are more jobs than free places, `packMs`. Its name is that of its first job's delivery, and is kept for the
  others. A job that has one attempt, or has had one, goes by itself: others cost it none. While half of
  what there is room for is there, room gathers for a whole pack.

  A queue has a backlog for each band (lanes.lua). Which jobs come next is said in take.lua; where only one
  band has anything, and nothing in it goes out of its turn, they are those with the smallest tags.

  What has less time left than any job of the queue takes is not started: it goes nowhere, and an attestor
  looks at it at once, which ends it, or places it again.

  Nothing of a paused pool is moved.

  The caller then adds the deliveries. If it dies before, `released` knows the jobs.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix
    ARGV[2]  room where nothing is known of workers yet      ARGV[3]  ahead, ms
    ARGV[4]  most jobs to move in one queue
    ARGV[5]  ms after which a released job is looked for in BullMQ
    ARGV[6+] per queue: its name, and what stands before its parts in BullMQ
  Returns per queue a list of deliveries, each: id, epoch after which it was queued (0 at first), id, epoch, …
]]
local floor, ahead = tonumber(ARGV[2]), tonumber(ARGV[3])
local most, lookAfter = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- Released jobs that the workers who are there may not take come back to them again and again. As many as
-- this hold up no other; workers could write any number here.
local mostAway = 1000
local measured = 250
local momentMs, packMs, mostInPack = 5, 50, 16

-- How many jobs a second are released, by what was moved since the last measurement.
local function rateOf(pace, known, moved)
  local rate, since, count = tonumber(known[2] or 0), tonumber(known[3] or 0), tonumber(known[4] or 0) + moved
  local elapsed = now - since
  if elapsed >= measured then
    local recent = count * 1000 / elapsed
    rate = elapsed < 8 * measured and (rate + recent) / 2 or recent
    redis.call('HSET', pace, 'rate', rate, 'since', now, 'count', 0)
  elseif moved > 0 then
    redis.call('HSET', pace, 'count', count)
  end
end

-- How many jobs of a delivery take so long together, by what jobs of the queue took.
local function jobsIn(ms, known)
  local took = tonumber(known[5])
  if not took then return 1 end
  return math.max(1, math.min(mostInPack, math.floor(ms / math.max(took, 0.3))))
end

local function roomIn(queue, base, known)
  local slots, rate = tonumber(known[1] or 0), tonumber(known[2] or 0)
  local waiting = redis.call('ZCARD', keys.released(queue))
  local away = redis.pcall('ZCARD', base .. 'delayed')
  if type(away) ~= 'number' then away = 0 end
  local ready = waiting - math.min(away, waiting, mostAway)
  local wanted = math.max(floor, slots + math.max(slots, math.ceil(rate * ahead / 1000)))
  local room = wanted - ready - redis.call('ZCARD', keys.leases(queue))
  if slots > 0 and ready >= wanted / 2 and room < jobsIn(packMs, known) then return 0 end
  return room
end

-- The most jobs of a delivery, where so many jobs are released at once.
local function packSize(queue, base, known, jobs)
  local slots = tonumber(known[1] or 0)
  local always, byTime = jobsIn(momentMs, known), jobsIn(packMs, known)
  if slots == 0 or byTime < 2 then return 1 end
  local delivered = redis.pcall('LLEN', base .. 'wait')
  if type(delivered) ~= 'number' then delivered = 0 end
  -- Half as many again as there are slots: whatever ends finds the next delivery waiting.
  local places = math.ceil(1.5 * slots) - redis.call('ZCARD', keys.leases(queue)) - delivered
  return math.max(always, math.min(byTime, math.ceil(jobs / math.max(1, places))))
end

-- Puts jobs into deliveries of at most `size` jobs of one flow and band, in the order of their first ones.
local function packed(queue, ids, laneOfId, size)
  local deliveries, open, names, firsts = {}, {}, {}, 0
  for _, id in ipairs(ids) do
    local epoch = tonumber(redis.call('HGET', keys.ruling(id), 'requeued') or 0)
    local flow = id
    if epoch == 0 then firsts = firsts + 1 end
    if size > 1 and epoch == 0 then
      local job = redis.call('HMGET', keys.job(id), 'flow', 'tenant', 'attempts')
      if job[3] ~= '1' then flow = (laneOfId[id] or '') .. ' ' .. (job[1] or job[2] or id) end
    end
    local pack = open[flow]
    if pack and #pack < 2 * size then
      names[#names + 1] = id
      names[#names + 1] = pack[2] == 0 and pack[1] or pack[1] .. '-' .. pack[2]
    else
      pack = {}
      open[flow] = pack
      deliveries[#deliveries + 1] = pack
    end
    pack[#pack + 1] = id
    pack[#pack + 1] = epoch
  end
  if #names > 0 then redis.call('HSET', keys.packs(queue), unpack(names)) end
  return deliveries, firsts
end

local function isPaused(queue)
  local standing = redis.call('HGET', keys.poolStates, string.match(queue, '^[^.]+'))
  return standing and string.match(standing, '^paused ') ~= nil
end

-- Takes up to `room` jobs of the one lane that has anything; nil where something in it goes out of its turn.
local function takeByTag(queue, room)
  for _, lane in ipairs(lanesOf(queue)) do
    if redis.call('EXISTS', keys.outOfTurn(lane), keys.turnDebts(lane), keys.heldBack(lane),
      keys.runningLimits) > 0 then return end
    local backlog = keys.backlog(lane)
    local next = redis.call('ZRANGE', backlog, 0, room - 1, 'WITHSCORES')
    if #next > 0 then
      local ids = {}
      for at = 1, #next, 2 do ids[#ids + 1] = next[at] end
      redis.call('ZREM', backlog, unpack(ids))
      redis.call('HSET', keys.pace(lane), 'present', next[#next])
      return ids, {}
    end
  end
end

-- Those of the jobs that can end in time, if any job can; attestors are to look at the others.
local function startable(ids, least)
  if least <= 0 then return ids end
  local deadlines = redis.call('ZMSCORE', KEYS[1], unpack(ids))
  local good, vain = {}, {}
  for at, id in ipairs(ids) do
    if tonumber(deadlines[at] or now + least) - now >= least then good[#good + 1] = id
    else
      vain[#vain + 1] = now
      vain[#vain + 1] = id
    end
  end
  if #vain > 0 then redis.call('ZADD', KEYS[1], 'XX', 'LT', unpack(vain)) end
  return good
end

local function release(queue, base)
  local pace, backlogs = keys.pace(queue), {}
  for at, lane in ipairs(lanesOf(queue)) do backlogs[at] = keys.backlog(lane) end
  local lanes = redis.call('EXISTS', unpack(backlogs))
  if lanes == 0 or isPaused(queue) then return {} end
  local known = redis.call('HMGET', pace, 'slots', 'rate', 'since', 'count', 'took', 'least',
    'present', 'heldat', 'retries', 'bands')
  local budget = { left = retriesLeft(known[9]) }
  local room = math.min(roomIn(queue, base, known), most)
  local deliveries, ids, entries, firsts = {}, nil, {}, 0
  if room > 0 then
    local laneOfId
    if lanes == 1 and not known[10] then ids, laneOfId = takeByTag(queue, room) end
    if not ids then ids, laneOfId = takeInTurn(queue, lanes, room, known, budget, now) end
    if #ids > 0 then ids = startable(ids, tonumber(known[6] or 0)) end
    for _, id in ipairs(ids) do
      entries[#entries + 1] = now + lookAfter
      entries[#entries + 1] = id
    end
    if #ids > 0 then
      deliveries, firsts = packed(queue, ids, laneOfId, packSize(queue, base, known, #ids))
      redis.call('ZADD', keys.released(queue), unpack(entries))
    end
  end
  local left = retriesEarned(budget.left, firsts, tonumber(known[1] or 0))
  if left ~= retriesLeft(known[9]) then redis.call('HSET', pace, 'retries', string.format('%.2f', left)) end
  rateOf(pace, known, ids and #ids or 0)
  return deliveries
end

local replies = {}
for at = 6, #ARGV, 2 do replies[#replies + 1] = release(ARGV[at], ARGV[at + 1]) end
return replies
