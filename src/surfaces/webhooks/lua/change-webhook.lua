--[[
  Change a tenant's webhook endpoint if it still is what the caller has read: a compare-and-set.

    KEYS[1]  endpoints  {shard}:webhooks:<tenant>   ARGV[1]  id
                                                    ARGV[2]  what it was, or "" for none
                                                    ARGV[3]  what it is to be, or "" for none
                                                    ARGV[4]  most endpoints
                                                    ARGV[5]  field that is no endpoint
  Returns 'changed', 'conflict', or 'full' where there is no room for another.
]]
local before = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if before ~= ARGV[2] then return 'conflict' end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1])
elseif before == ''
  and redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], ARGV[5]) >= tonumber(ARGV[4]) then
  return 'full'
else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return 'changed'
