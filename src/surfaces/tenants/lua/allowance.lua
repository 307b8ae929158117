--[[
  Included by the scripts that take from allowances. Each is a generic cell rate algorithm (ITU-T I.371): a
  whole allowance of `quota` units per window may be used at once, and comes back evenly. The state of each is
  one number, the time at which the allowance is whole again.

    allowance(key, quota, window, units, kept)  how it stands if this much is taken and `kept` units of it are
                                                left alone: { wait = ms until this can be, … }
    grant(state)                                takes it
    told(state)                                 units left, and ms until it is whole
]]
local clock = redis.call('TIME')
local clockMs = clock[1] * 1000 + clock[2] / 1000

local function allowance(key, quota, window, units, kept)
  local each = window / quota
  local full = math.max(tonumber(redis.call('GET', key) or 0), clockMs)
  local after = full + units * each
  local wait = after - (window - kept * each) - clockMs
  return { key = key, full = full, after = after, each = each, window = window, wait = wait }
end

local function grant(state)
  state.full = state.after
  local lifeMs = math.ceil(math.max(1, state.full - clockMs))
  redis.call('SET', state.key, string.format('%.3f', state.full), 'PX', lifeMs)
end

local function told(state)
  return math.floor((state.window - (state.full - clockMs)) / state.each), math.ceil(state.full - clockMs)
end
