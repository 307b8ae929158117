--[[
  Read a queue as it stands, for predictions.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  queue   ARGV[3]  most flows that are read
    ARGV[4]  what its pool's workers have handed in
  Returns now (ms), slots, jobs that run, released, waiting, the present tag, what was learned (or ""), the
  flows with their values, one after the other: none where they are more; how its pool stands, or ""; and
  what its jobs took (ms); entries of the log; answers that are not confirmed, at the least; and what a load of
  its model takes (ms) where no worker has it loaded, else 0.
]]
local queue = ARGV[2]
local time = redis.call('TIME')
local pace = redis.call('HMGET', keys.pace(queue), 'slots', 'present', 'took', 'cold')
local head = redis.call('ZRANGE', keys.backlog(queue), 0, 0, 'WITHSCORES')
if tonumber(head[2] or 0) >= heldTag then head = {} end
-- Workers can spoil this key; then it says nothing.
local entries = redis.pcall('XLEN', ARGV[4])
local flows = {}
if redis.call('HLEN', keys.fairShares(queue)) <= tonumber(ARGV[3]) then
  flows = redis.call('HGETALL', keys.fairShares(queue))
end
return {
  time[1] * 1000 + math.floor(time[2] / 1000),
  pace[1] or '0',
  redis.call('ZCARD', keys.leases(queue)),
  redis.call('ZCARD', keys.released(queue)),
  redis.call('ZCOUNT', keys.backlog(queue), '-inf', '(' .. heldTag),
  head[2] or pace[2] or '1',
  redis.call('GET', keys.learned(queue)) or '',
  flows,
  redis.call('HGET', keys.poolStates, string.match(queue, '^[^.]+')) or '',
  pace[3] or '0',
  redis.call('HGET', keys.log, 'size') or '0',
  redis.call('ZCARD', keys.confirmations) + (type(entries) == 'number' and entries or 0),
  pace[4] or '0',
}
