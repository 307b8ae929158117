--[[
  Read the heads of the records of jobs.

    KEYS[1]  ended jobs of a tenant, for routing in a cluster     ARGV[1]  key prefix     ARGV[2+]  job ids
  Returns per job "state model", or "" where there is no record.
]]
local heads = {}
for at = 2, #ARGV do
  local head = redis.call('GETRANGE', keys.record(ARGV[at]), 0, 199)
  local state, model = string.match(head, '^1 (%a+) %S+ %d+ %S+ (%S+) ')
  heads[#heads + 1] = state and state .. ' ' .. model or ''
end
return heads
