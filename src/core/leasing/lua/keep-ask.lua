--[[
  Keep what a worker asks that wants to be enrolled. Whoever asks again replaces what it said; strangers can
  ask, so that only so many wait.

    KEYS[1]  asks of the pool   {shard}:@tag:enrolasks   hash: worker -> signed request
    ARGV[1]  worker id   ARGV[2]  request   ARGV[3]  most asks
  Returns 'kept' or 'full'.
]]
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  return 'full'
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 'kept'
