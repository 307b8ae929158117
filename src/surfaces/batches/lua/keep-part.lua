--[[
  Keep a part of a batch in place of its lines, once. Who no longer holds the batch writes nothing.

    KEYS[1]  lines and parts   {shard}:batchparts:<id>   ARGV[1]  who holds the batch
    KEYS[2]  lease             {shard}:batchlease:<id>   ARGV[2]  field of the part
                                                         ARGV[3]  the part
                                                         ARGV[4+] fields of its lines
  Returns 'kept' or 'lost'.
]]
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'lost' end
redis.call('HSETNX', KEYS[1], ARGV[2], ARGV[3])
if #ARGV > 3 then redis.call('HDEL', KEYS[1], unpack(ARGV, 4)) end
return 'kept'
