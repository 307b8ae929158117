--[[
  Ask for a job to be cancelled, for its user; see ask-cancel.lua.

    KEYS[1]  ticket         {shard}:ticket:<id>      ARGV[1]  key prefix
    KEYS[2]  cancel stream  {shard}:cancels          ARGV[2]  id
                                                     ARGV[3]  greatest length of the stream
                                                     ARGV[4]  ms after which the job is looked at
  Returns 'missing', 'final', 'asked', or 'logged' where its confirmation has its place in the log.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return askCancel(ARGV[2], now, tonumber(ARGV[4]), ARGV[3], '')
