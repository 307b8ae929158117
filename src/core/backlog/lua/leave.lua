--[[
  Included by the scripts that move open jobs on. What leaves its sets is gathered: one command for each set
  and not for each job.

    leave(set, id)                 the job leaves this set
    leaveReleased(queue, id)       the job is no longer released
    leaveAll(queue, lane, tenant, id)   a job that has ended leaves every set of open jobs but `later`: only
                                   those that had a time of their own can stand there, and whoever has read
                                   that takes them out, or arrive.lua when their time comes
    flushLeft()                    to be called at the end
]]
local left, unpacked = {}, {}

local function gather(all, key, id)
  local members = all[key] or {}
  members[#members + 1] = id
  all[key] = members
end

local function leave(set, id) gather(left, set, id) end

local function leaveReleased(queue, id)
  leave(keys.released(queue), id)
  gather(unpacked, keys.packs(queue), id)
end

local function leaveAll(queue, lane, tenant, id)
  leave(keys.open, id)
  leave(keys.backlog(lane), id)
  leaveReleased(queue, id)
  leave(keys.leases(queue), id)
  leave(keys.ready(queue), id)
  leave(keys.confirmations, id)
  leave(keys.running(tenant), id)
end

local function flushLeft()
  for set, members in pairs(left) do redis.call('ZREM', set, unpack(members)) end
  for packs, members in pairs(unpacked) do redis.call('HDEL', packs, unpack(members)) end
end
