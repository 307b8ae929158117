--[[
  Queue a message that the owner of its endpoint asks for by hand, new or once more.

    KEYS[1]  endpoints by time  {shard}:deliveries      ARGV[1]  key prefix
    KEYS[2]  messages waiting   {shard}:webhookwaiting  ARGV[2]  tenant
                                                        ARGV[3]  endpoint
                                                        ARGV[4]  target: its queue
                                                        ARGV[5]  id of the message
                                                        ARGV[6]  now, ms
                                                        ARGV[7]  ms to keep it
                                                        ARGV[8]  most messages in the queue
                                                        ARGV[9]  most times that a message is sent by hand
                                                        ARGV[10+] fields to write: name, value, …
  Returns 'queued', 'full' where too many wait already, or 'often' where it was sent by hand often enough.
]]
local tenant, endpoint, target, id, now = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local queue, message = keys.webhookQueue(tenant, target), keys.webhookMessage(id)
if redis.call('ZSCORE', queue, id) then return 'queued' end
if redis.call('ZCARD', queue) >= tonumber(ARGV[8]) then return 'full' end
if tonumber(redis.call('HGET', message, 'byHand') or 0) >= tonumber(ARGV[9]) then return 'often' end
redis.call('HSET', message, 'status', 'pending', 'attempts', '0', 'from', now, unpack(ARGV, 10))
redis.call('HINCRBY', message, 'byHand', 1)
redis.call('PEXPIRE', message, ARGV[7])
redis.call('HINCRBY', KEYS[2], tenant, 1)
redis.call('ZADD', queue, now, id)
redis.call('ZADD', KEYS[1], 'LT', now, tenant .. ' ' .. target)
local log = keys.webhookMessagesOf(tenant, endpoint)
redis.call('ZADD', log, 'NX', now, id)
redis.call('ZREMRANGEBYRANK', log, 0, -1001)
redis.call('PEXPIRE', log, ARGV[7])
return 'queued'
