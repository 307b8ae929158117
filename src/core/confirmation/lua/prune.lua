--[[
  Forget finished jobs: those that ended before a time, and the oldest beyond a number. Once a courier has
  recorded any end, no job is forgotten before its end is recorded.

    KEYS[1]  all ended  {shard}:ended     ARGV[1]  key prefix
                                          ARGV[2]  ended before, ms
                                          ARGV[3]  most jobs to keep
                                          ARGV[4]  most jobs to forget in one call
  Returns the number of jobs forgotten.
]]
local batch = tonumber(ARGV[4])
local entered = tonumber(redis.call('HGET', keys.jobEnds, 'cursor') or '+inf')
local before = math.min(tonumber(ARGV[2]), entered)
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', before), 'LIMIT', 0, batch)
local excess = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[3])
if excess > #old then
  old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', entered),
    'LIMIT', 0, math.min(excess, batch))
end
for _, id in ipairs(old) do
  local job = redis.call('HMGET', keys.job(id), 'tenant', 'model')
  local state = redis.call('HGET', keys.ruling(id), 'state')
  if job[1] then
    redis.call('ZREM', keys.jobsOf(job[1]), id)
    redis.call('ZREM', keys.jobsOfModel(job[1], job[2]), id)
    if state then redis.call('ZREM', keys.endedOf(job[1], state), id) end
  end
  redis.call('UNLINK', keys.ticket(id))
  redis.call('UNLINK', keys.job(id))
  redis.call('UNLINK', keys.claims(id))
  redis.call('UNLINK', keys.evidence(id))
  redis.call('UNLINK', keys.chunks(id))
  redis.call('UNLINK', keys.lease(id))
  redis.call('UNLINK', keys.ruling(id))
  redis.call('ZREM', KEYS[1], id)
end
return #old
