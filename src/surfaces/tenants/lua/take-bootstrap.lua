--[[
  Take in the first tenant, the tenant of the operator and its first API key, in one step: a crash leaves all of it or nothing. The record
  of the key is the mark that it was done. It stays when the key is revoked or has expired, so that the file
  never brings back a key that somebody ended. Tenants that are there already keep their limits and standing.

    KEYS[1]  the tenant       {shard}:tenant:<tenant>   ARGV[1]  name of the tenant
    KEYS[2]  all tenants      {shard}:tenant            ARGV[2]  id of the key
    KEYS[3]  the key          {shard}:apikey:<id>       ARGV[3]  digest of the key
    KEYS[4]  all keys         {shard}:apikey            ARGV[4]  its scopes
    KEYS[5]  the operator's   {shard}:tenant:operator   ARGV[5]  its name
                                                        ARGV[6]  now, ISO 8601
                                                        ARGV[7]  now, ms
                                                        ARGV[8]  the stream of changes, to which the API may
                                                                 only append, hence no KEYS
                                                        ARGV[9]  name of the tenant of the operator
  Returns 1 where it was taken in now, 0 where that was done before.
]]
local tenant, id, now = ARGV[1], ARGV[2], ARGV[6]
if redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
for key, name in pairs({ [KEYS[1]] = tenant, [KEYS[5]] = ARGV[9] }) do
  if redis.call('HSETNX', key, 'createdAt', now) == 1 then redis.call('HSET', key, 'limits', '{}') end
  redis.call('SADD', KEYS[2], name)
end
redis.call('HSET', KEYS[3], 'hash', ARGV[3], 'tenant', ARGV[9], 'scopes', ARGV[4])
redis.call('HSET', KEYS[3], 'name', ARGV[5], 'createdAt', now)
redis.call('ZADD', KEYS[4], ARGV[7], id)
redis.call('XADD', ARGV[8], '*', 'by', 'bootstrap', 'action', 'key.create', 'target', id, 'detail', '{}')
return 1
