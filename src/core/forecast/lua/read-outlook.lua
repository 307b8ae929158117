--[[
  Read a queue as it stands, for predictions.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  queue   ARGV[3]  most flows that are read
    ARGV[4]  what its pool's workers have handed in
  Returns now (ms), slots, jobs that run, released, what was learned (or ""), how its pool stands, or "", what
  its jobs took (ms), entries of the log, answers that are not confirmed, at the least; what a load of its
  model takes (ms) where no worker has it loaded, else 0; and for each band, in the order of lanes.lua: jobs
  that wait, the present tag, and the flows with their values, one after the other: none where they are more.
]]
local queue = ARGV[2]
local time = redis.call('TIME')
local pace = redis.call('HMGET', keys.pace(queue), 'slots', 'took', 'cold')
-- Workers can spoil this key; then it says nothing.
local entries = redis.pcall('XLEN', ARGV[4])
-- What waits in a lane.
local function waitingIn(lane)
  if lane ~= queue and redis.call('EXISTS', keys.backlog(lane), keys.fairShares(lane)) == 0 then
    return { 0, '1', {} }
  end
  local head = redis.call('ZRANGE', keys.backlog(lane), 0, 0, 'WITHSCORES')
  if tonumber(head[2] or 0) >= heldTag then head = {} end
  local flows = {}
  if redis.call('HLEN', keys.fairShares(lane)) <= tonumber(ARGV[3]) then
    flows = redis.call('HGETALL', keys.fairShares(lane))
  end
  return {
    redis.call('ZCOUNT', keys.backlog(lane), '-inf', '(' .. heldTag),
    head[2] or redis.call('HGET', keys.pace(lane), 'present') or '1',
    flows,
  }
end
local lanes = {}
for at, lane in ipairs(lanesOf(queue)) do lanes[at] = waitingIn(lane) end
return {
  time[1] * 1000 + math.floor(time[2] / 1000),
  pace[1] or '0',
  redis.call('ZCARD', keys.leases(queue)),
  redis.call('ZCARD', keys.released(queue)),
  redis.call('GET', keys.learned(queue)) or '',
  redis.call('HGET', keys.poolStates, string.match(queue, '^[^.]+')) or '',
  pace[2] or '0',
  redis.call('HGET', keys.log, 'size') or '0',
  redis.call('ZCARD', keys.confirmations) + (type(entries) == 'number' and entries or 0),
  pace[3] or '0',
  lanes,
}
