--[[
  Names of what was committed for an epoch beside the first commit: at most a few, and of its form only.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix   ARGV[2]  id   ARGV[3]  epoch   ARGV[4]  field of the first commit
    ARGV[5]  most fields
  Returns a list of fields.
]]
local found = {}
local page = redis.call('HSCAN', keys.evidence(ARGV[2]), 0, 'MATCH', ARGV[3] .. ':*', 'COUNT', 200)[2]
for at = 1, #page, 2 do
  local field = page[at]
  if #found < tonumber(ARGV[5]) and field ~= ARGV[4] and string.find(field, '^%d+:%x+$') and #field <= 40 then
    found[#found + 1] = field
  end
end
return found
