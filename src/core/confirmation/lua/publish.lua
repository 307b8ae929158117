--[[
  Publish a checkpoint, unless a larger one is published. Every confirmation with a place below its size is
  done from here on. Its whole tiles (256) are durable already, and their entries leave the list; those of the
  unfinished tile stay.

    KEYS[1]  log   {shard}:log        ARGV[1]  size
    KEYS[2]  tail  {shard}:log:tail   ARGV[2]  the signed checkpoint
  Returns the size that is published now. Nothing is published that is not here: a Redis that came back older
  while the checkpoint was made has lost places, which only a recovery gives back.
]]
local published = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local size = tonumber(ARGV[1])
if size <= published then return published end
if size > published - published % 256 + redis.call('LLEN', KEYS[2]) then return published end
local whole = (size - size % 256) - (published - published % 256)
if whole > 0 then redis.call('LTRIM', KEYS[2], whole, -1) end
redis.call('HSET', KEYS[1], 'size', size, 'checkpoint', ARGV[2])
return size
