--[[
  Ask for a job to be cancelled. The time of the first request is kept with the ticket. The stream tells the
  attestor, which ends a job that no worker runs, and the workers, which stop theirs.

    KEYS[1]  ticket         {shard}:ticket:<id>      ARGV[1]  key prefix
    KEYS[2]  cancel stream  {shard}:cancels          ARGV[2]  id
                                                     ARGV[3]  greatest length of the stream
  Returns 'missing', 'final' or 'asked'.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
if redis.call('HEXISTS', ARGV[1] .. 'ruling:' .. ARGV[2], 'state') == 1 then return 'final' end
local now = redis.call('TIME')
redis.call('HSETNX', KEYS[1], 'cancel', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'id', ARGV[2])
return 'asked'
