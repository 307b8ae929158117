--[[
  Put cases aside, each until its next try: a pause that doubles with every failure.

    KEYS[1]  aside         {shard}:aside       jobs by the time (ms) of their next try
    KEYS[2]  why           {shard}:aside:why   job -> since (ms), failures, the last cause
    ARGV[1]  first pause, ms   ARGV[2]  longest pause, ms
    then for each case: job, cause
  Returns how often each has failed.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local counts = {}
for at = 3, #ARGV, 2 do
  local job, cause = ARGV[at], ARGV[at + 1]
  local since, failures = string.match(redis.call('HGET', KEYS[2], job) or '', '^(%d+) (%d+) ')
  failures = (tonumber(failures) or 0) + 1
  local pause = math.min(tonumber(ARGV[2]), tonumber(ARGV[1]) * 2 ^ math.min(failures - 1, 16))
  redis.call('HSET', KEYS[2], job, string.format('%d %d %s', tonumber(since) or now, failures, cause))
  redis.call('ZADD', KEYS[1], string.format('%d', now + pause), job)
  counts[#counts + 1] = failures
end
return counts
