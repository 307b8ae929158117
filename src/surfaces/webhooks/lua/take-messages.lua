--[[
  Take messages of endpoints that are due, so that no other courier takes them for a while.

    KEYS[1]  endpoints by the time (ms) at which something is due  {shard}:deliveries
    ARGV[1]  key prefix      ARGV[2]  now, ms
    ARGV[3]  ms to take a message for
    ARGV[4+] for each endpoint: tenant, target, most messages to take (0: look at it again later), and the
             time (ms) at which it is looked at again if messages are left, or "" for at once
  Returns the ids of the messages of each endpoint.
]]
local now = tonumber(ARGV[2])
local replies = {}
for at = 4, #ARGV, 4 do
  local tenant, target, most, again = unpack(ARGV, at, at + 3)
  local queue = keys.webhookQueue(tenant, target)
  local ids = {}
  if most ~= '0' then
    ids = redis.call('ZRANGEBYSCORE', queue, '-inf', ARGV[2], 'LIMIT', 0, most)
    for _, id in ipairs(ids) do redis.call('ZADD', queue, now + ARGV[3], id) end
  end
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if not first[2] then
    redis.call('ZREM', KEYS[1], tenant .. ' ' .. target)
  else
    local due = math.max(tonumber(first[2]), now, tonumber(again) or 0)
    redis.call('ZADD', KEYS[1], string.format('%.0f', due), tenant .. ' ' .. target)
  end
  replies[#replies + 1] = ids
end
return replies
