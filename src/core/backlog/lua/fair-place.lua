--[[
  Included by the scripts that enter jobs in a backlog, behind lanes.lua and turns.lua. A `queue` of whose
  present and flows this speaks is a lane.

  Start-time fair queueing (Goyal, Vin, Chen 1996): each job gets a start tag, and the smallest is released
  first. A flow's next job starts where its last one ended, in units of cost over weight, but never before the
  present: the smallest tag that waits, or, where none does but those that limits hold back, the largest that
  was released. A flood by one
  tenant therefore waits behind itself only. When nothing waits and nothing is released or runs, a new busy
  period begins, in which all tenants are equal.

  Of each flow is kept `<finish tag> <since> <rate> <rate at> <weight> <last rank> <beyond>`: since when (ms)
  it had something waiting beyond its share without a break, the cost a second that was admitted, as a mean
  that forgets in the time of `memoryOfRates` in queue-state.ts, the greatest rank of those that wait in the
  order of their tags, and when (ms) a job was last admitted beyond its share: a break is as long as `graceOf`
  in admission-limits.ts, or who always wants more would be new to the queue each time that it catches up.

    presentOf(queue)               the present
    finishOf(queue, flow)          where the flow's next job starts, unless that is before the present
    isBeforeOthers(queue, flow, rank)  whether a job of this rank goes before some that the flow has waiting.
                                   Ranks less than half a second apart count as one
    enterTurn(queue, flow, rank, id)   to be called before `charge`; returns how the job stands in
                                   `outofturn` where it goes before others, see turns.lua
    charge(queue, flow, amount)    the flow's next job starts later by this; returns the tag where this one
                                   starts
    noteAdmitted(queue, flow, cost, weight, nowMs, isWithin)
                                   what predictions need of the flow; `isWithin` where it had nothing waiting
                                   beyond its share
    backloggedFor(queue, flow, nowMs)  for how long (ms) it has had
    saveShares()                   to be called at the end; it writes what the flows were charged
]]
local shares, tooks = {}, {}
local sameRankMs = 500

local function sharesOf(queue)
  if shares[queue] then return shares[queue] end
  local head = redis.call('ZRANGE', keys.backlog(queue), 0, 0, 'WITHSCORES')
  local present, isNewPeriod = tonumber(head[2]), false
  if not present or present >= heldTag then
    isNewPeriod = redis.call('EXISTS', keys.released(queueOf(queue))) == 0
      and redis.call('EXISTS', keys.leases(queueOf(queue))) == 0
    present = isNewPeriod and 1 or tonumber(redis.call('HGET', keys.pace(queue), 'present') or 1)
  end
  shares[queue] = { present = present, isNewPeriod = isNewPeriod, flows = {} }
  return shares[queue]
end

local function flowOf(queue, flow)
  local share = sharesOf(queue)
  local flows = share.flows
  if not flows[flow] then
    local kept = not share.isNewPeriod and redis.call('HGET', keys.fairShares(queue), flow) or ''
    local finish, since, rate, at, weight, last, beyond =
      string.match(kept, '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) ?(%S*)$')
    flows[flow] = {
      finish = tonumber(finish or 0), since = tonumber(since or 0), rate = tonumber(rate or 0),
      at = tonumber(at or 0), weight = tonumber(weight or 1), last = tonumber(last or 0),
      beyond = tonumber(beyond or '') or 0,
    }
  end
  return flows[flow]
end

local function presentOf(queue) return sharesOf(queue).present end

local function finishOf(queue, flow) return flowOf(queue, flow).finish end

local function isBeforeOthers(queue, flow, rank)
  local known = flowOf(queue, flow)
  return known.finish > presentOf(queue) and rank + sameRankMs < known.last
end

local function enterTurn(queue, flow, rank, id)
  if isBeforeOthers(queue, flow, rank) then return turnOf(flow, 'a', rank, id) end
  local known = flowOf(queue, flow)
  known.last = known.finish > presentOf(queue) and math.max(known.last, rank) or rank
end

local function charge(queue, flow, amount)
  local known = flowOf(queue, flow)
  local start = math.max(presentOf(queue), known.finish)
  known.finish = start + tonumber(amount)
  known.isCharged = true
  return start
end

-- What the jobs of a queue took (ms).
local function tookIn(queue)
  tooks[queue] = tooks[queue] or tonumber(redis.call('HGET', keys.pace(queueOf(queue)), 'took') or '') or 0
  return tooks[queue]
end

-- How long (ms) the rates of a queue's flows are remembered.
local function memoryOfRates(queue) return math.max(2000, math.min(3600000, 20 * tookIn(queue))) end

local function noteAdmitted(queue, flow, cost, weight, nowMs, isWithin)
  local known, forgetMs = flowOf(queue, flow), memoryOfRates(queue)
  known.rate = known.rate * math.exp(math.min(0, known.at - nowMs) / forgetMs) + cost * 1000 / forgetMs
  known.at = nowMs
  known.weight = weight
  local isBreak = isWithin and nowMs - known.beyond > math.max(1000, 10 * tookIn(queue))
  if isBreak or known.since == 0 then known.since = nowMs end
  if not isWithin then known.beyond = nowMs end
end

local function backloggedFor(queue, flow, nowMs)
  local since = flowOf(queue, flow).since
  return since == 0 and 0 or math.max(0, nowMs - since)
end

-- What was charged in an earlier busy period goes here and not before: a full Redis refuses to write what
-- takes memory, but once a script has taken anything away it lets all of it through.
local function saveShares()
  for queue, share in pairs(shares) do
    for flow, known in pairs(share.flows) do
      if known.isCharged then
        if share.isNewPeriod then redis.call('DEL', keys.fairShares(queue), keys.turnDebts(queue)) end
        share.isNewPeriod = false
        local kept = string.format('%.17g %.0f %.6g %.0f %.6g %.0f %.0f',
          known.finish, known.since, known.rate, known.at, known.weight, known.last, known.beyond)
        redis.call('HSET', keys.fairShares(queue), flow, kept)
      end
    end
  end
end
