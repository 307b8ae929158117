--[[
  Keep an uploaded file, unless it is there or the tenant has too many or too much. They are counted in the
  step that adds one, so that of many who upload at once none gets a place too many.

    KEYS[1]  the file                 {shard}:file:<id>        ARGV[1]   key prefix
    KEYS[2]  files of the tenant      {shard}:files:<tenant>   ARGV[2]   id
    KEYS[3]  files by when they go    {shard}:files            ARGV[3]   created, ms
                                                               ARGV[4]   when it goes, ms
                                                               ARGV[5]   most files of a tenant
                                                               ARGV[6]   most bytes of all its files
                                                               ARGV[7]   bytes of this one
                                                               ARGV[8+]  fields: name, value, …
  Returns what came of it: 'kept'; 'known' where it is there; 'full' where the tenant has no place, 'large'
  where its files have no more room. Without fields it only looks, and a file of no bytes finds room.
]]
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return 'full' end
local held = tonumber(ARGV[7])
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  held = held + tonumber(redis.call('HGET', keys.file(id), 'bytes') or 0)
end
if held > tonumber(ARGV[6]) then return 'large' end
if #ARGV < 8 then return 'kept' end
redis.call('HSET', KEYS[1], unpack(ARGV, 8))
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[2])
return 'kept'
