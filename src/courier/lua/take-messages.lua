--[[
  Take messages that are due, so that no other courier takes them for a while.

    KEYS[1]  messages by the time of their next attempt  {shard}:deliveries     ARGV[1]  now, ms
                                                                                 ARGV[2]  ms to take them for
                                                                                 ARGV[3]  most messages
  Returns their ids.
]]
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], 'XX', ARGV[1] + ARGV[2], id) end
return due
