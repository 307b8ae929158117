--[[
  Keep an uploaded file, unless it is there or the tenant has too many. They are counted in the step that adds
  one, so that of many who upload at once none gets a place too many.

    KEYS[1]  the file                 {shard}:file:<id>        ARGV[1]   id
    KEYS[2]  files of the tenant      {shard}:files:<tenant>   ARGV[2]   created, ms
    KEYS[3]  files by when they go    {shard}:files            ARGV[3]   when it goes, ms
                                                               ARGV[4]   most files of a tenant
                                                               ARGV[5+]  fields: name, value, …
  Returns 'kept'; 'known' where it is there; 'full' where the tenant has no place.
]]
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return 'kept'
