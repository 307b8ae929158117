--[[
  Begin to have the append-only file written anew, where anything was erased since it last was and the last
  time it was begun is long enough ago. Of attestors that ask at once, one begins.

    KEYS[1]  rewrite  {shard}:rewrite    hash: `wanted` counts erasures, `written` those that are out of the
                                         file, `begun` is when (ms) it was begun last
    ARGV[1]  for how long (ms) it is not begun again
  Returns the count that will be out of the file, or 0 where there is nothing to do now.
]]
local wanted, written, begun = unpack(redis.call('HMGET', KEYS[1], 'wanted', 'written', 'begun'))
if not wanted or wanted == written then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A clock that was put back holds nothing up.
begun = tonumber(begun or 0)
if begun <= now and now - begun < tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'begun', string.format('%.0f', now))
return tonumber(wanted)
