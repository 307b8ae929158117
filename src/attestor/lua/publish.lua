--[[
  Publish a checkpoint: never a smaller one than is published. Its tiles are durable already.

    KEYS[1]  log      {shard}:log           ARGV[1]  size
    KEYS[2]  pending  {shard}:log:pending   ARGV[2]  the signed checkpoint
    KEYS[3]  {shard}:log:at:<size>          ARGV[3]  how long receipts may want this checkpoint, ms
  Returns the size that is published now.
]]
local published = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local size = tonumber(ARGV[1])
if size <= published then return published end
redis.call('LTRIM', KEYS[2], size - published, -1)
redis.call('HSET', KEYS[1], 'size', size, 'checkpoint', ARGV[2])
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
return size
