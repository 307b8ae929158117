--[[
  Ask for a job to be cancelled. The time of the first request is kept with the ticket. The stream tells the
  attestor, which ends a job that no worker runs, and the workers, which stop theirs. An attestor also looks
  at the job a moment later, as if its deadline had come: an entry of the stream can be lost.

    KEYS[1]  ticket         {shard}:ticket:<id>      ARGV[1]  key prefix
    KEYS[2]  cancel stream  {shard}:cancels          ARGV[2]  id
                                                     ARGV[3]  greatest length of the stream
                                                     ARGV[4]  ms after which the job is looked at
  Returns 'missing', 'final', 'asked', or 'logged' where its confirmation has its place in the log.
]]
if redis.call('EXISTS', KEYS[1]) == 0 then return 'missing' end
local ruled = redis.call('HMGET', keys.ruling(ARGV[2]), 'state', 'logged')
if ruled[1] then return 'final' end
-- A confirmation that stands in the log is the only end that the job can have.
if ruled[2] then return 'logged' end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSETNX', KEYS[1], 'cancel', now)
redis.call('ZADD', keys.open, 'XX', 'LT', now + tonumber(ARGV[4]), ARGV[2])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'jobs', 'x:' .. ARGV[2])
redis.call('PUBLISH', channels.cancels, ARGV[2])
redis.call('PUBLISH', channels.stops(ARGV[2]), ARGV[2])
return 'asked'
