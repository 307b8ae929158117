--[[
  Included by the scripts that look after jobs which are not to begin yet. These stand in `later` by their
  times, and in `dueturns` by flow and time, so that it can be counted what of a flow is due by a time.

    enterLater(queue, flow, atMs, id)   the job is not to begin before this time
    leaveLater(queue, flow, atMs, id)   the job has ended, or its time has come
]]
local function dueTurn(flow, atMs, id) return string.format('%s %016.0f %s', flow, atMs, id) end

local function enterLater(queue, flow, atMs, id)
  redis.call('ZADD', keys.later(queue), 'NX', atMs, id)
  redis.call('ZADD', keys.dueTurns(queue), 0, dueTurn(flow, atMs, id))
end

local function leaveLater(queue, flow, atMs, id)
  redis.call('ZREM', keys.later(queue), id)
  redis.call('ZREM', keys.dueTurns(queue), dueTurn(flow, atMs, id))
end
