--[[
  Give a lease back, if it is still held.

    KEYS[1]  lease  {shard}:batchlease:<id>   ARGV[1]  who held it
  Returns 1 or 0.
]]
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('UNLINK', KEYS[1])
