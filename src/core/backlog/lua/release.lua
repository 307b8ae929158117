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

  The tags say which flow comes next. Where it has jobs that go before others of it (turns.lua), the one with
  the smallest rank goes, and the one that came up stays. What that costs its flow is a debt: a job of it that
  comes up before the one that went has its end is put back, the first of those to that end and the others
  behind. So a flow is served what its tags allow, in whatever order, and passes nobody.

  What comes up while a limit of its tenant or API key is full (at-work.lua) is held back: it goes behind all
  tags, still in the backlog, and passes its turn, so that others of its tenant go on, and other tenants. As
  soon as there is room again, the first of those that it holds back come up at the present, or where their
  flow's debt ends: what their limit kept from them in the meantime is not made up for.

  Retries of a queue that are beyond its budget (retry-budget.lua) are held back alike, and come up as first
  tries earn them; where nothing else is at work in the queue, one comes up at a time.

  What has less time left than any job of the queue takes is not started: it goes nowhere, and an attestor
  looks at it at once, which ends it, or places it again.

  Nothing of a paused pool is moved.

  The caller then adds the deliveries. If it dies before, `released` knows the jobs.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix
    ARGV[2]  room where nothing is known of workers yet      ARGV[3]  ahead, ms
    ARGV[4]  most jobs to move in one queue
    ARGV[5]  ms after which a released job is looked for in BullMQ
    ARGV[6+] queues
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
-- Jobs that are put back in one call, beside those that are moved.
local mostPutBack = 1000
-- Limits that hold something back which are looked at in one call; the next call goes on behind them.
local mostLimits = 32

-- What is left of the budget of the queue that is being released, and whether it was spent.
local retries

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

local function roomIn(queue, first, known)
  local slots, rate = tonumber(known[1] or 0), tonumber(known[2] or 0)
  local waiting = redis.call('ZCARD', keys.released(queue))
  local away = redis.pcall('ZCARD', keys.poolQueues(first) .. ':' .. queue .. ':delayed')
  if type(away) ~= 'number' then away = 0 end
  local ready = waiting - math.min(away, waiting, mostAway)
  local wanted = math.max(floor, slots + math.max(slots, math.ceil(rate * ahead / 1000)))
  local room = wanted - ready - redis.call('ZCARD', keys.leases(queue))
  if slots > 0 and ready >= wanted / 2 and room < jobsIn(packMs, known) then return 0 end
  return room
end

-- The most jobs of a delivery, where so many jobs are released at once.
local function packSize(queue, first, known, jobs)
  local slots = tonumber(known[1] or 0)
  local always, byTime = jobsIn(momentMs, known), jobsIn(packMs, known)
  if slots == 0 or byTime < 2 then return 1 end
  local delivered = redis.pcall('LLEN', keys.poolQueues(first) .. ':' .. queue .. ':wait')
  if type(delivered) ~= 'number' then delivered = 0 end
  -- Half as many again as there are slots: whatever ends finds the next delivery waiting.
  local places = math.ceil(1.5 * slots) - redis.call('ZCARD', keys.leases(queue)) - delivered
  return math.max(always, math.min(byTime, math.ceil(jobs / math.max(1, places))))
end

-- Puts jobs into deliveries of at most `size` jobs of one flow each, in the order of their first ones.
local function packed(queue, ids, size)
  local deliveries, open, names, firsts = {}, {}, {}, 0
  for _, id in ipairs(ids) do
    local epoch = tonumber(redis.call('HGET', keys.ruling(id), 'requeued') or 0)
    local flow = id
    if epoch == 0 then firsts = firsts + 1 end
    if size > 1 and epoch == 0 then
      local job = redis.call('HMGET', keys.job(id), 'flow', 'tenant', 'attempts')
      if job[3] ~= '1' then flow = job[1] or job[2] or id end
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

-- The debts of flows: the tags from which on the next job may start, and a further one that is put back.
local function debtsOf(queue)
  local debts, kept = {}, redis.call('HGETALL', keys.turnDebts(queue))
  for at = 1, #kept, 2 do
    local served, free = string.match(kept[at + 1], '^(%S+) (%S+)$')
    debts[kept[at]] = { served = tonumber(served), free = tonumber(free) }
  end
  return debts
end

-- The first of the flow with this mark, and its rank; what has left the backlog in another way goes.
local function firstWaiting(queue, flow, mark)
  while true do
    local id, rank = firstOf(queue, flow, mark)
    if not id or redis.call('ZSCORE', keys.backlog(queue), id) then return id, rank end
    redis.call('ZREM', keys.outOfTurn(queue), turnOf(flow, mark, rank, id))
  end
end

-- A debt is kept until the present has come to it, and all that was put back is gone.
local function saveDebts(queue, debts, present)
  if redis.call('EXISTS', keys.backlog(queue)) == 0 then
    redis.call('DEL', keys.turnDebts(queue), keys.outOfTurn(queue), keys.heldBack(queue))
    return
  end
  for flow, debt in pairs(debts) do
    if debt.served <= present and not firstWaiting(queue, flow, 'p') then
      redis.call('HDEL', keys.turnDebts(queue), flow)
    else
      redis.call('HSET', keys.turnDebts(queue), flow, string.format('%.17g %.17g', debt.served, debt.free))
    end
  end
end

local function moveTo(queue, tag, id)
  redis.call('ZREM', keys.backlog(queue), id)
  redis.call('ZADD', keys.backlog(queue), string.format('%.17g', tag), id)
end

-- The job that goes where this one has come up: it, or one of its flow that goes before it.
local function chosenFor(queue, flow, id, rank)
  for _, mark in ipairs({ 'a', 'p' }) do
    local first, itsRank = firstWaiting(queue, flow, mark)
    if first and itsRank < rank then id, rank = first, itsRank end
  end
  return id
end

local function factsOf(id)
  return redis.call('HMGET', keys.job(id), 'tenant', 'flow', 'charge', 'rank', 'early', 'key', 'model')
end

-- Puts a job back that came up while its flow has a debt.
local function putBack(queue, flow, debt, id, job)
  local rank, cost = tonumber(job[4] or 0), tonumber(job[3] or 0)
  local first, itsRank = firstWaiting(queue, flow, 'p')
  local start = debt.served
  if first and first ~= id and itsRank <= rank then
    start = math.max(debt.served, debt.free)
    debt.free = start + cost
  else
    debt.free = math.max(debt.free, start + cost)
  end
  moveTo(queue, start, id)
  if job[5] ~= 'p' then
    if job[5] then redis.call('ZREM', keys.outOfTurn(queue), turnOf(flow, job[5], rank, id)) end
    redis.call('ZADD', keys.outOfTurn(queue), 0, turnOf(flow, 'p', rank, id))
    redis.call('HSET', keys.job(id), 'early', 'p')
  end
end

-- Takes a job where this one has come up, and notes what it leaves its flow owing.
local function takeFor(queue, flow, debts, tag, id, chosen, its)
  redis.call('ZREM', keys.backlog(queue), chosen)
  if its[5] then redis.call('ZREM', keys.outOfTurn(queue), turnOf(flow, its[5], tonumber(its[4]), chosen)) end
  local debt = debts[flow]
  if not debt and chosen == id then return end
  debt = debt or { free = 0 }
  debts[flow] = debt
  debt.served = tag + tonumber(its[3] or 0)
  debt.free = math.max(debt.free, debt.served)
  local first = firstWaiting(queue, flow, 'p')
  if first then moveTo(queue, debt.served, first) end
end

-- Holds a job back that came up while this limit is full. What was queued again stays the first.
local function holdBack(queue, flow, limit, isAgain, id, job)
  local rank = tonumber(job[4] or 0)
  local member = string.format('%s %s %016.0f %s', limit.name, flow, isAgain and 0 or rank, id)
  moveTo(queue, heldTag, id)
  if job[5] then redis.call('ZREM', keys.outOfTurn(queue), turnOf(flow, job[5], rank, id)) end
  redis.call('ZADD', keys.heldBack(queue), 0, member)
  redis.call('HSET', keys.job(id), 'early', 'h' .. member)
end

-- The first that is held back with this limit and flow; what has left the backlog in another way goes.
local function firstHeld(queue, group)
  for _ = 1, mostPutBack do
    local member = redis.call('ZRANGE', keys.heldBack(queue), '[' .. group .. ' ', '(' .. group .. '!',
      'BYLEX', 'LIMIT', 0, 1)[1]
    if not member then return end
    local rank, id = string.match(member, ' (%d+) (%S+)$')
    if tonumber(redis.call('ZSCORE', keys.backlog(queue), id) or 0) == heldTag then
      return id, tonumber(rank), member
    end
    redis.call('ZREM', keys.heldBack(queue), member)
  end
end

-- How many jobs like this one the limit of this name allows, `wanted` at most: it may be a limit no more.
local function roomFor(name, wanted, job)
  if name == retryBudget then return math.min(wanted, math.floor(retries)) end
  for _, limit in ipairs(limitsOn(job[1], job[6], job[7])) do
    if limit.name == name then return math.min(wanted, roomUnder(limit, wanted, now)) end
  end
  return wanted
end

-- Puts the first of those where they come up that a limit holds back, at most `room`, as far as it allows.
local function comeUp(queue, limit, flow, room, present, debts)
  local debt = debts[flow] or { served = present, free = present }
  local start = math.max(present, debt.served)
  local count, group = 0, limit .. ' ' .. flow
  while count < room do
    local id, rank, member = firstHeld(queue, group)
    if not id then return end
    local job = factsOf(id)
    if count == 0 then room = roomFor(limit, room, job) end
    if room <= 0 then return end
    redis.call('ZREM', keys.heldBack(queue), member)
    if limit == retryBudget then retries = retries - 1 end
    if rank == 0 then
      moveTo(queue, justBefore(present), id)
      redis.call('HDEL', keys.job(id), 'early')
    else
      debts[flow] = debt
      moveTo(queue, start, id)
      redis.call('ZADD', keys.outOfTurn(queue), 0, turnOf(flow, 'p', rank, id))
      redis.call('HSET', keys.job(id), 'early', 'p')
      start = start + tonumber(job[3] or 0)
      debt.free = math.max(debt.free, start)
    end
    count = count + 1
  end
end

-- Lets come up what limits held back that have room now.
local function freeHeld(queue, room, known, debts)
  local held, cursor = keys.heldBack(queue), known[8] or ''
  if redis.call('EXISTS', held) == 0 then return end
  local present = tonumber(redis.call('ZRANGE', keys.backlog(queue), 0, 0, 'WITHSCORES')[2] or 1)
  if present >= heldTag then
    local isBusy = redis.call('EXISTS', keys.released(queue), keys.leases(queue)) > 0
    present = isBusy and tonumber(known[7] or 1) or 1
    if not isBusy then retries = math.max(1, retries) end
  end
  for _ = 1, mostLimits do
    local from = cursor == '' and '-' or '(' .. cursor
    local member = redis.call('ZRANGE', held, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
    if not member then
      cursor = ''
      break
    end
    local limit, flow = string.match(member, '^(%S+) (%S+) ')
    comeUp(queue, limit, flow, room, present, debts)
    cursor = limit .. ' ' .. flow .. '!'
  end
  redis.call('HSET', keys.pace(queue), 'heldat', cursor)
end

-- The first of these limits that is full.
local function fullOf(limits)
  for _, limit in ipairs(limits) do
    if roomUnder(limit, 1, now) <= 0 then return limit end
  end
end

-- Takes up to `room` jobs out of the backlog, each flow's by rank, as far as limits allow; returns them and
-- the tag of the last one that came up.
local function takeInTurn(queue, room, known)
  local backlog, debts = keys.backlog(queue), debtsOf(queue)
  local ids, present = {}
  freeHeld(queue, room, known, debts)
  for _ = 1, room + mostPutBack do
    local head = redis.call('ZRANGE', backlog, 0, 0, 'WITHSCORES')
    local id, tag = head[1], tonumber(head[2])
    if #ids >= room or not id or tag >= heldTag then break end
    local job = factsOf(id)
    local flow = job[2] or job[1] or id
    present = tag
    -- What was queued again stands before all that its tenant has waiting, and was charged when it was.
    local isAgain = redis.call('HEXISTS', keys.ruling(id), 'requeued') == 1
    if not isAgain and debts[flow] and tag < debts[flow].served then
      putBack(queue, flow, debts[flow], id, job)
    else
      local chosen = isAgain and id or chosenFor(queue, flow, id, tonumber(job[4] or 0))
      local its = chosen == id and job or factsOf(chosen)
      local limits = limitsOn(its[1] or '', its[6], its[7])
      local full = fullOf(limits)
      if full then
        holdBack(queue, flow, full, isAgain, chosen, its)
      else
        if isAgain then redis.call('ZREM', backlog, id)
        else takeFor(queue, flow, debts, tag, id, chosen, its) end
        enterWork(limits, queue, chosen, now)
        ids[#ids + 1] = chosen
      end
    end
  end
  saveDebts(queue, debts, present or 0)
  return ids, present
end

-- The same where no job goes before others of its flow.
local function takeByTag(queue, room)
  local next = redis.call('ZRANGE', keys.backlog(queue), 0, room - 1, 'WITHSCORES')
  local ids = {}
  for at = 1, #next, 2 do ids[#ids + 1] = next[at] end
  redis.call('ZREM', keys.backlog(queue), unpack(ids))
  return ids, next[#next]
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

local function release(queue)
  local backlog, pace = keys.backlog(queue), keys.pace(queue)
  local first = redis.call('ZRANGE', backlog, 0, 0)[1]
  if not first or isPaused(queue) then return {} end
  local known = redis.call('HMGET', pace, 'slots', 'rate', 'since', 'count', 'took', 'least',
    'present', 'heldat', 'retries')
  retries = retriesLeft(known[9])
  local room = math.min(roomIn(queue, first, known), most)
  local deliveries, ids, entries, firsts = {}, {}, {}, 0
  if room > 0 then
    local hasTurns = redis.call('EXISTS', keys.outOfTurn(queue), keys.turnDebts(queue), keys.heldBack(queue),
      keys.runningLimits) > 0
    local present
    ids, present = (hasTurns and takeInTurn or takeByTag)(queue, room, known)
    if #ids > 0 then ids = startable(ids, tonumber(known[6] or 0)) end
    for _, id in ipairs(ids) do
      entries[#entries + 1] = now + lookAfter
      entries[#entries + 1] = id
    end
    if #ids > 0 then
      deliveries, firsts = packed(queue, ids, packSize(queue, first, known, #ids))
      redis.call('ZADD', keys.released(queue), unpack(entries))
    end
    if present then redis.call('HSET', pace, 'present', present) end
  end
  local left = retriesEarned(retries, firsts, tonumber(known[1] or 0))
  if left ~= retriesLeft(known[9]) then redis.call('HSET', pace, 'retries', string.format('%.2f', left)) end
  rateOf(pace, known, #ids)
  return deliveries
end

local replies = {}
for at = 6, #ARGV do replies[#replies + 1] = release(ARGV[at]) end
return replies
