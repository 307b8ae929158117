--[[
  Keep a part of a batch in place of its lines, once; what these had as bytes of their own is removed. Who no
  longer holds the batch writes nothing.

    KEYS[1]  lines and parts   {shard}:batchparts:<id>   ARGV[1]  who holds the batch
    KEYS[2]  lease             {shard}:batchlease:<id>   ARGV[2]  field of the part
    KEYS[3]  bytes to remove   {shard}:filesgone         ARGV[3]  the part
                                                         ARGV[4]  now, ms
                                                         ARGV[5+] fields of its lines
  Returns 'kept' or 'lost'.
]]
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'lost' end
redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3])
if #ARGV > 4 then
  for _, line in ipairs(redis.call('HMGET', KEYS[1], unpack(ARGV, 5))) do
    local digest = line and cjson.decode(line).sha256
    if digest then redis.call('ZADD', KEYS[3], ARGV[4], digest) end
  end
  redis.call('HDEL', KEYS[1], unpack(ARGV, 5))
end
return 'kept'
