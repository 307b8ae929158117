--[[
  Note that a pool is emptied, with an entry in the audit log, both or neither; see append-entry.lua.

    KEYS[1]  state of the emptying  {shard}:emptying:<pool>   ARGV[1]  key prefix
                                                              ARGV[2]  when (ms) the operator asked for it
                                                              ARGV[3]  when (ms) it was over
                                                              ARGV[4]  number of the entry   ARGV[5]  its text
  Returns {'ended'}; {'stale'} where it was noted before, or was asked for again since; or that the entry had
  not its place, see append-entry.lua.
]]
local known = redis.call('HMGET', KEYS[1], 'asked', 'ended')
if known[1] ~= ARGV[2] or known[2] then return { 'stale' } end
local elsewhere = misplaced(tonumber(ARGV[4]))
if elsewhere then return elsewhere end
append(tonumber(ARGV[4]), ARGV[5])
redis.call('HSET', KEYS[1], 'ended', ARGV[3])
return { 'ended' }
