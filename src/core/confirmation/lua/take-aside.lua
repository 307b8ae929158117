--[[
  Take cases whose next try has come, so that no other attestor takes them for a while.

    KEYS[1]  aside   {shard}:aside   jobs by the time (ms) of their next try
    ARGV[1]  ms to take them for   ARGV[2]  most cases
  Returns how many are aside, and the jobs that were taken.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local taken_until = string.format('%d', now + tonumber(ARGV[1]))
local until_now = string.format('%d', now)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', until_now, 'LIMIT', 0, ARGV[2])
for _, job in ipairs(due) do redis.call('ZADD', KEYS[1], taken_until, job) end
return { redis.call('ZCARD', KEYS[1]), unpack(due) }
