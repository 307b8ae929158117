--[[
  Take the ids that are due, so that no other courier takes them for a while.

    KEYS[1]  ids by the time of their next attempt, ms     ARGV[1]  now, ms
                                                           ARGV[2]  ms to take them for
                                                           ARGV[3]  greatest number of ids
  Returns the ids.
]]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', ARGV[1] + ARGV[2], id) end
return due
