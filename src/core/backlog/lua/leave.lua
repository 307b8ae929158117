--[[
  Included by the scripts that move open jobs on. What leaves its sets is gathered: one command for each set
  and not for each job.

    leave(set, id)                 the job leaves this set
    leaveAll(queue, tenant, id)    a job that has ended leaves every set of open jobs
    flushLeft()                    to be called at the end
]]
local left = {}

local function leave(set, id)
  local members = left[set] or {}
  members[#members + 1] = id
  left[set] = members
end

local function leaveAll(queue, tenant, id)
  leave(keys.open, id)
  leave(keys.backlog(queue), id)
  leave(keys.released(queue), id)
  leave(keys.leases(queue), id)
  leave(keys.confirmations, id)
  leave(keys.running(tenant), id)
end

local function flushLeft()
  for set, members in pairs(left) do redis.call('ZREM', set, unpack(members)) end
end
