--[[
  Write down what became of an attempt to deliver a message, and how its endpoint does, in one step.

    KEYS[1]  endpoints by time  {shard}:deliveries      ARGV[1]  key prefix
    KEYS[2]  health             {shard}:webhookhealth   ARGV[2]  tenant
    KEYS[3]  messages waiting   {shard}:webhookwaiting  ARGV[3]  target
                                                        ARGV[4]  id of the message
                                                        ARGV[5]  ms of the next attempt, or ""
                                                        ARGV[6]  health, "": good, "same": unknown
                                                        ARGV[7]  ms before which nothing is sent there
                                                        ARGV[8]  maximum events of a tenant's feed
                                                        ARGV[9]  now, as text
                                                        ARGV[10+] fields of the message: name, value, …
  A message that is gone, because it waited for longer than messages are kept, is taken out of the queue, and
  counted as lost. Returns 1 if the message was there.
]]
local tenant, target, id, nextMs = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local name = tenant .. ' ' .. target
local queue, message = keys.webhookQueue(tenant, target), keys.webhookMessage(id)
local isThere = redis.call('EXISTS', message)
if isThere == 1 and #ARGV > 9 then redis.call('HSET', message, unpack(ARGV, 10)) end
if isThere == 1 and nextMs ~= '' then
  redis.call('HSET', message, 'next', nextMs)
  if redis.call('ZSCORE', queue, id) then redis.call('ZADD', queue, nextMs, id) end
else
  if isThere == 1 then redis.call('HDEL', message, 'next') end
  if redis.call('ZREM', queue, id) == 1 then
    if redis.call('HINCRBY', KEYS[3], tenant, -1) <= 0 then redis.call('HDEL', KEYS[3], tenant) end
    if isThere == 0 then lose(tenant, target, ARGV[8], ARGV[9]) end
  end
end
if ARGV[6] == '' then redis.call('HDEL', KEYS[2], name)
elseif ARGV[6] ~= 'same' and isThere == 1 then redis.call('HSET', KEYS[2], name, ARGV[6]) end
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
if not first[2] then
  redis.call('ZREM', KEYS[1], name)
else
  redis.call('ZADD', KEYS[1], string.format('%.0f', math.max(tonumber(first[2]), tonumber(ARGV[7]))), name)
end
return isThere
