--[[
  Included by the scripts that foresee where jobs stand which are not to begin yet.

    duePlace(queue, flow, of, now)   where a job stands when its time has come: `duePlace` in due-place.ts
                                     says how. `of` has nowMs, atMs, slots, perEnd, perCost, the charge and
                                     the weight of its flow, how many jobs of it are to be taken as due by
                                     then although they stand nowhere yet (`earlier`), and its id where it
                                     stands in `later` itself; `now` has ahead, distance and ties. It looks
                                     at a hundred flows at most
]]
local mostDueFlows = 100
local firstDueMs, dueStep = 125, 1.5

local function inFull(ms) return string.format('%.0f', ms) end

-- How many jobs of a flow are due by the job's time and not before another; of its own flow, those before it.
local function dueOf(queue, flow, isOwn, fromMs, of)
  local to = string.format('(%s %016.0f!', flow, of.atMs)
  if isOwn and of.id then to = '(' .. dueTurn(flow, of.atMs, of.id) end
  return redis.call('ZLEXCOUNT', keys.dueTurns(queue), string.format('[%s %016.0f ', flow, fromMs), to)
    + (isOwn and of.earlier or 0)
end

-- The flows that have something due by a time, the job's own one first.
local function dueFlows(queue, own, of)
  local set = keys.dueTurns(queue)
  local flows = { { name = own, isOwn = true, weight = of.weight, charge = of.charge,
    count = dueOf(queue, own, true, 0, of) } }
  local from = '-'
  for _ = 1, mostDueFlows do
    local member = redis.call('ZRANGE', set, from, '+', 'BYLEX', 'LIMIT', 0, 1)[1]
    if not member then break end
    local name, atMs, id = string.match(member, '^(%S+) (%d+) (%S+)$')
    from = '(' .. name .. '!'
    if name ~= own and tonumber(atMs) <= of.atMs then
      local job = redis.call('HMGET', keys.job(id), 'charge', 'weight')
      flows[#flows + 1] = { name = name, isOwn = false, weight = tonumber(job[2] or 1),
        charge = tonumber(job[1] or of.charge), count = dueOf(queue, name, false, 0, of) }
    end
  end
  return flows
end

-- The tag up to which all flows are served in this time (ms).
local function levelOf(flows, leftMs)
  local sorted, level, perTag = {}, 0, 0
  for at, flow in ipairs(flows) do
    sorted[at] = flow
    perTag = perTag + flow.perTag
  end
  table.sort(sorted, function(a, b) return a.tags < b.tags end)
  for _, flow in ipairs(sorted) do
    local step = (flow.tags - level) * perTag
    if step > leftMs then return level + leftMs / perTag end
    leftMs = leftMs - step
    perTag = perTag - flow.perTag
    level = flow.tags
  end
  return level
end

local function duePlace(queue, own, of, now)
  local lead, perEnd, perCost = of.atMs - of.nowMs, of.perEnd, of.perCost
  local behind = of.id and redis.call('ZCOUNT', keys.later(queue), '-inf', inFull(of.atMs))
    - (redis.call('ZRANK', keys.later(queue), of.id) or 0) or 0
  local function within(ms)
    local from = ms < lead and inFull(math.ceil(of.atMs - ms)) or '-inf'
    return redis.call('ZCOUNT', keys.later(queue), from, inFull(of.atMs)) - behind + of.earlier
  end
  local all = within(lead)
  local flows = all > 0 and dueFlows(queue, own, of) or {}
  local known, ofOwn, dueMs = 0, 0, 0
  for _, flow in ipairs(flows) do
    known = known + flow.count
    if flow.isOwn then ofOwn = flow.count end
    dueMs = dueMs + flow.count * flow.weight * flow.charge * perCost
  end
  local each = known == 0 and 0 or dueMs / known
  local scale = known > ofOwn and (all - ofOwn) / (known - ofOwn) or 1

  -- For how long before the time there is more to do than is done.
  local nowMs, busy, most = now.ahead * perEnd, 0, all > 0 and within(0) * each or 0
  local ms = firstDueMs
  while all > 0 and ms < lead do
    local left = within(ms) * each - ms
    if left > most then busy, most = ms, left end
    ms = ms * dueStep
  end
  if nowMs + all * each - lead > most then busy = lead end
  local isWhole = busy >= lead
  local left = isWhole and math.max(0, nowMs - lead) or 0

  for _, flow in ipairs(flows) do
    flow.scale = flow.isOwn and 1 or scale
    flow.perTag = flow.weight * perCost * flow.scale
    local count = flow.count
    if not isWhole then
      count = dueOf(queue, flow.name, flow.isOwn, math.ceil(of.atMs - busy), of)
    end
    flow.tags = count * flow.charge
  end
  local level = levelOf(flows, isWhole and lead - (nowMs - left) or busy)
  local distance = flows[1] and math.max(0, flows[1].tags - level) or 0
  local ahead, aheadMs, ties = left / perEnd, left, left == 0 and 0 or math.max(0, now.ties - lead / perEnd)
  for _, flow in ipairs(flows) do
    local first = math.min(math.max(0, flow.tags - level), flow.isOwn and distance or distance + flow.charge)
    if first > 0 then
      ahead = ahead + flow.scale * first / flow.charge
      aheadMs = aheadMs + flow.perTag * first
      ties = ties + flow.scale
    end
  end
  local length = ahead == 0 and 1 or aheadMs / ahead / perEnd
  return {
    ends = math.max(0, ahead - of.slots + 1) * length,
    distance = distance + (left == 0 and 0 or now.distance * left / nowMs),
    ahead = ahead * length,
    ties = ties * length,
    busy = busy,
  }
end
