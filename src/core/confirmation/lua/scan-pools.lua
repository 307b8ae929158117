--[[
  One step through the keys of the shard, for those of pools. Workers choose these names: one that is longer
  than any honest name is not handed out, and its key goes at once.

    KEYS[1]  any key of the shard, for routing in a cluster
    ARGV[1]  cursor   ARGV[2]  pattern   ARGV[3]  keys to pass over   ARGV[4]  longest honest name, bytes
  Returns the next cursor, the names, and how many keys went.
]]
local step = redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])
local names, gone = {}, 0
for _, name in ipairs(step[2]) do
  if #name <= tonumber(ARGV[4]) then
    names[#names + 1] = name
  else
    redis.call('UNLINK', name)
    gone = gone + 1
  end
end
return { step[1], names, gone }
