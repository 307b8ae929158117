--[[
  Keep what a worker asks that wants to be enrolled. Whoever asks again replaces what it said; strangers can
  ask, so that only so many wait.

    KEYS[1]  asks of the pool   {shard}:@tag:enrolasks   hash: worker -> signed request
    ARGV[1]  worker id   ARGV[2]  request   ARGV[3]  most asks
  Returns 'kept' or 'full'.
]]
local asks = redis.pcall('HLEN', KEYS[1])
if type(asks) ~= 'number' then
  redis.call('DEL', KEYS[1])
  asks = 0
end
if asks >= tonumber(ARGV[3]) and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 'full'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 'kept'
