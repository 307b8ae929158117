--[[
  Read where an open job stands, for predictions.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  job
  Returns false where its end is known, or
    { now (ms), 'later', 'backlog', 'held', 'released', 'ready' or 'begun', jobs that begin before it, jobs
      whose engines run, distance of its tag from the present, whose turns it takes, whether its confirmation
      has its place in the log, since when (ms) it cannot be judged or 0, how often that was tried, how its
      pool stands or "", and where a limit holds it back (`held`): its name, what it allows, and what is at
      work; of the budget of retries, how many it holds back; entries that its pool's
      workers have handed in and no attestor has taken; answers that are being confirmed }
]]
local id = ARGV[2]
local job = redis.call('HMGET', keys.job(id), 'queue', 'tenant', 'flow', 'charge', 'rank', 'early',
  'key', 'model', 'band')
local queue = job[1]
if not queue then return false end
local lane = laneOf(queue, job[9])
-- Jobs of other bands that are released meanwhile, where so many of its own are before it.
local function beside(count)
  return jobsBeside(lane, count, function(other)
    return redis.call('ZCOUNT', keys.backlog(other), '-inf', '(' .. heldTag)
  end)
end
local time = redis.call('TIME')
local ready, released = redis.call('ZCARD', keys.ready(queue)), redis.call('ZCARD', keys.released(queue))
local set, before, distance = 'begun', 0, 0
local rank = redis.call('ZRANK', keys.backlog(lane), id)
local held = job[6] and string.match(job[6], '^h(%S+) ')
local limit = { name = held or '', most = 0, count = 0 }
if rank and held then
  set = 'held'
  if held == retryBudget then
    limit.count = redis.call('ZLEXCOUNT', keys.heldBack(lane), '[' .. held .. ' ', '(' .. held .. '!')
  end
  for _, one in ipairs(limitsOn(job[2], job[7], job[8])) do
    if one.name == held then
      limit.most, limit.count = one.most, math.min(one.most, redis.call('ZCARD', one.set))
    end
  end
elseif rank then
  set, before = 'backlog', ready + released + rank + beside(rank)
  local head = redis.call('ZRANGE', keys.backlog(lane), 0, 0, 'WITHSCORES')
  distance = redis.call('ZSCORE', keys.backlog(lane), id) - head[2]
  local earlier = countBefore(lane, job[3] or job[2], tonumber(job[5] or 0))
  if job[6] or earlier > 0 then
    -- Others of its flow go before it, or it before others; they are taken to cost as much.
    local charged = tonumber(job[4] or 0)
    distance = job[6] and math.min(distance, (1 + earlier) * charged) or distance + earlier * charged
    local tag = string.format('(%.17g', head[2] + distance)
    local first = redis.call('ZCOUNT', keys.backlog(lane), '-inf', tag)
    before = ready + released + first + beside(first)
  end
else
  rank = redis.call('ZRANK', keys.released(queue), id)
  if rank then set, before = 'released', ready + rank end
end
if not rank then
  rank = redis.call('ZRANK', keys.ready(queue), id)
  if rank then set, before = 'ready', rank end
end
-- It has no turn yet.
if not rank and redis.call('ZSCORE', keys.later(queue), id) then set = 'later' end
-- Workers can spoil this key; then it says nothing.
local entries = redis.pcall('XLEN', keys.attest(id))
local since, failures = string.match(redis.call('HGET', keys.asideWhy, id) or '', '^(%d+) (%d+) ')
return {
  time[1] * 1000 + math.floor(time[2] / 1000),
  set,
  before,
  math.max(0, redis.call('ZCARD', keys.leases(queue)) - ready),
  string.format('%.6g', distance),
  job[3] or job[2],
  redis.call('HEXISTS', keys.ruling(id), 'logged'),
  since or '0',
  failures or '0',
  redis.call('HGET', keys.poolStates, string.match(queue, '^[^.]+')) or '',
  limit.name,
  limit.most,
  limit.count,
  type(entries) == 'number' and entries or 0,
  redis.call('ZCARD', keys.confirmations),
}
