--[[
  Give a document that is no verdict (a list of workers, a keyring, a calibration) its place in the log, once.

    KEYS[1]  log        {shard}:log             hash: size and checkpoint that are published
    KEYS[2]  tail       {shard}:log:tail        list: entries from the last whole tile (256) on, in order
    KEYS[3]  documents  {shard}:log:documents   hash: "kind sha256" -> "index salt keyid"
    ARGV[1]  "kind sha256"   ARGV[2]  entry   ARGV[3]  salt   ARGV[4]  key id
  Returns its index, the one that it was given first.
]]
local known = redis.call('HGET', KEYS[3], ARGV[1])
if known then return tonumber(string.match(known, '^%d+')) end
local published = tonumber(redis.call('HGET', KEYS[1], 'size') or 0)
local index = published - published % 256 + redis.call('LLEN', KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[3], ARGV[1], index .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
return index
