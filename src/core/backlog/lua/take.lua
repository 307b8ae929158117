--[[
  Included by the script that releases jobs, behind lanes.lua, band-turns.lua, turns.lua, at-work.lua and
  retry-budget.lua: which jobs of a queue come next where it is not always the one with the smallest tag.

  Among the bands that have something which no limit holds back, band-turns.lua says whose turn it is, and the
  tags of that lane say the rest. A `queue` of whose backlog, debts and flows this speaks is a lane.

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

    takeInTurn(queue, lanes, room, known, budget, nowMs)   takes up to `room` jobs out of the backlogs of so
                                   many lanes that have anything; returns them, and the lane of each by its
                                   id. `known` is what the queue's pace has, `budget.left` what is left for
                                   retries
]]
-- Jobs that are put back in one call, beside those that are moved.
local mostPutBack = 1000
-- Limits that hold something back which are looked at in one call; the next call goes on behind them.
local mostLimits = 32

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
  return redis.call('HMGET', keys.job(id), 'tenant', 'flow', 'charge', 'rank', 'early', 'key', 'model',
    'weight')
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
local function roomFor(name, wanted, job, budget, nowMs)
  if name == retryBudget then return math.min(wanted, math.floor(budget.left)) end
  for _, limit in ipairs(limitsOn(job[1], job[6], job[7])) do
    if limit.name == name then return math.min(wanted, roomUnder(limit, wanted, nowMs)) end
  end
  return wanted
end

-- Puts the first of those where they come up that a limit holds back, at most `room`, as far as it allows.
local function comeUp(queue, limit, flow, room, present, debts, budget, nowMs)
  local debt = debts[flow] or { served = present, free = present }
  local start = math.max(present, debt.served)
  local count, group = 0, limit .. ' ' .. flow
  while count < room do
    local id, rank, member = firstHeld(queue, group)
    if not id then return end
    local job = factsOf(id)
    if count == 0 then room = roomFor(limit, room, job, budget, nowMs) end
    if room <= 0 then return end
    redis.call('ZREM', keys.heldBack(queue), member)
    if limit == retryBudget then budget.left = budget.left - 1 end
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

-- Lets come up what limits held back in this lane that have room now. `known` is what is kept of the lane.
local function freeHeld(lane, room, known, debts, budget, nowMs)
  local held, cursor = keys.heldBack(lane), known.heldAt or ''
  if redis.call('EXISTS', held) == 0 then return end
  local present = tonumber(redis.call('ZRANGE', keys.backlog(lane), 0, 0, 'WITHSCORES')[2] or 1)
  if present >= heldTag then
    local queue = queueOf(lane)
    local isBusy = redis.call('EXISTS', keys.released(queue), keys.leases(queue)) > 0
    present = isBusy and tonumber(known.present or 1) or 1
    if not isBusy then budget.left = math.max(1, budget.left) end
  end
  for _ = 1, mostLimits do
    local from = cursor == '' and '-' or '(' .. cursor
    local member = redis.call('ZRANGE', held, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
    if not member then
      cursor = ''
      break
    end
    local limit, flow = string.match(member, '^(%S+) (%S+) ')
    comeUp(lane, limit, flow, room, present, debts, budget, nowMs)
    cursor = limit .. ' ' .. flow .. '!'
  end
  redis.call('HSET', keys.pace(lane), 'heldat', cursor)
end

-- The first of these limits that is full.
local function fullOf(limits, nowMs)
  for _, limit in ipairs(limits) do
    if roomUnder(limit, 1, nowMs) <= 0 then return limit end
  end
end

-- The first of a lane that no limit holds back, and its tag, or nil; and whether anything is in it at all.
local function headOf(lane)
  local head = redis.call('ZRANGE', keys.backlog(lane), 0, 0, 'WITHSCORES')
  local tag = tonumber(head[2])
  if tag and tag < heldTag then return { id = head[1], tag = tag }, true end
  return nil, tag ~= nil
end

-- Takes what goes where this one has come up in its lane: it, another of its flow, or, where it is put back
-- or held back, nothing. Returns its id, and what it costs.
local function takeOne(lane, debts, head, nowMs)
  local id, tag = head.id, head.tag
  local job = factsOf(id)
  local flow = job[2] or job[1] or id
  -- What was queued again stands before all that its tenant has waiting, and was charged when it was.
  local isAgain = redis.call('HEXISTS', keys.ruling(id), 'requeued') == 1
  if not isAgain and debts[flow] and tag < debts[flow].served then
    putBack(lane, flow, debts[flow], id, job)
    return
  end
  local chosen = isAgain and id or chosenFor(lane, flow, id, tonumber(job[4] or 0))
  local its = chosen == id and job or factsOf(chosen)
  local limits = limitsOn(its[1] or '', its[6], its[7])
  local full = fullOf(limits, nowMs)
  if full then
    holdBack(lane, flow, full, isAgain, chosen, its)
    return
  end
  if isAgain then redis.call('ZREM', keys.backlog(lane), id)
  else takeFor(lane, flow, debts, tag, id, chosen, its) end
  enterWork(limits, queueOf(lane), chosen, nowMs)
  return chosen, tonumber(its[3] or 1) * tonumber(its[8] or 1)
end

-- The lanes that have anything, with their debts and their first jobs; `count` have.
local function openLanes(queue, count, room, known, budget, nowMs)
  local open, heads, found = {}, {}, 0
  for _, lane in ipairs(lanesOf(queue)) do
    if found < count then
      local debts, kept = debtsOf(lane), { present = known[7], heldAt = known[8] }
      if lane ~= queue then
        local its = redis.call('HMGET', keys.pace(lane), 'present', 'heldat')
        kept = { present = its[1], heldAt = its[2] }
      end
      freeHeld(lane, room, kept, debts, budget, nowMs)
      local head, hasAny = headOf(lane)
      if hasAny then
        found = found + 1
        heads[lane] = head
        open[lane] = { debts = debts }
      end
    end
  end
  return open, heads
end

-- Writes what the next call needs of the bands: nothing where no more than one has anything, and none of the
-- others owes anything.
local function saveLeads(queue, leads, heads, kept)
  local waiting, owing = 0, false
  for lane, lead in pairs(leads) do
    if heads[lane] then waiting = waiting + 1
    else owing = owing or lead > 0 end
  end
  if waiting > 1 or (waiting == 1 and owing) then
    redis.call('HSET', keys.pace(queue), 'bands', leadsText(queue, leads))
  elseif kept then redis.call('HDEL', keys.pace(queue), 'bands') end
end

local function takeInTurn(queue, lanes, room, known, budget, nowMs)
  local open, heads = openLanes(queue, lanes, room, known, budget, nowMs)
  local ids, laneOfId, leads = {}, {}, leadsIn(queue, known[10])
  for _ = 1, room + mostPutBack do
    local lane = nextLane(queue, leads, heads)
    if #ids >= room or not lane then break end
    open[lane].present = heads[lane].tag
    local id, cost = takeOne(lane, open[lane].debts, heads[lane], nowMs)
    if id then
      ids[#ids + 1] = id
      laneOfId[id] = lane
      takeTurn(leads, lane, cost)
    end
    heads[lane] = headOf(lane)
  end
  for lane, one in pairs(open) do
    saveDebts(lane, one.debts, one.present or 0)
    if one.present then redis.call('HSET', keys.pace(lane), 'present', one.present) end
  end
  saveLeads(queue, leads, heads, known[10])
  return ids, laneOfId
end
