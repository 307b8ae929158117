--[[
  The newest members of a sorted set that workers write: those that are too long stay here, and a key of
  another type has none.

    KEYS[1]  any key of the shard, for routing in a cluster
    ARGV[1]  sorted set   ARGV[2]  most members   ARGV[3]  longest honest member, bytes
  Returns the members, the newest first.
]]
local members = redis.pcall('ZREVRANGE', ARGV[1], 0, tonumber(ARGV[2]) - 1)
if members.err then return {} end
local honest = {}
for _, member in ipairs(members) do
  if #member <= tonumber(ARGV[3]) then honest[#honest + 1] = member end
end
return honest
