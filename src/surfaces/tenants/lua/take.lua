--[[
  Take from several allowances at once, or from none of them. Each is a generic cell rate algorithm
  (ITU-T I.371): a whole allowance of `quota` units per window may be used at once, and comes back evenly. The
  state of each is one number, the time at which the allowance is whole again.

    KEYS[n]    the n-th allowance  {shard}:limit:<…>    ARGV[3n-2]  quota, units
                                                        ARGV[3n-1]  window, ms
                                                        ARGV[3n]    units to take
  Returns for each allowance { granted, units left, ms until it is whole, ms until this much can be taken }.
  `granted` is 1 or 0, the same for all.
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local states, granted = {}, 1
for n = 1, #KEYS do
  local quota, window, units = tonumber(ARGV[3 * n - 2]), tonumber(ARGV[3 * n - 1]), tonumber(ARGV[3 * n])
  local each = window / quota
  local full = math.max(tonumber(redis.call('GET', KEYS[n]) or 0), now)
  local after = full + units * each
  local wait = after - window - now
  if wait > 0 then granted = 0 end
  states[n] = { full = full, after = after, each = each, window = window, wait = wait }
end
local replies = {}
for n = 1, #KEYS do
  local s = states[n]
  local full = s.full
  if granted == 1 then
    full = s.after
    redis.call('SET', KEYS[n], string.format('%.3f', full), 'PX', math.ceil(math.max(1, full - now)))
  end
  replies[n] = {
    granted,
    math.floor((s.window - (full - now)) / s.each),
    math.ceil(full - now),
    math.ceil(math.max(0, s.wait)),
  }
end
return replies
