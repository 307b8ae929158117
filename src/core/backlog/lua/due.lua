--[[
  What a schedule has that is due, by Redis' clock: at most a page, from the head of each of its sets.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  most jobs   ARGV[2+] sorted sets of jobs by time, ms
  Returns now (ms), and per set a list of ids.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rest = tonumber(ARGV[1])
local replies = { now }
for at = 2, #ARGV do
  local ids = {}
  if rest > 0 then ids = redis.call('ZRANGEBYSCORE', ARGV[at], '-inf', now, 'LIMIT', 0, rest) end
  rest = rest - #ids
  replies[#replies + 1] = ids
end
return replies
