--[[
  Keep what was learned of a queue, unless somebody else has kept something since it was read.

    KEYS[1]  what is learned of the queue, `<version> <numbers as JSON>`
    ARGV[1]  version that was read, 0 where there was none   ARGV[2]  the numbers
  Returns 1 where it was kept, 0 where another version stands there.
]]
local kept = redis.call('GET', KEYS[1])
local version = kept and tonumber(string.match(kept, '^%d+')) or 0
if version ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], string.format('%.0f', version + 1) .. ' ' .. ARGV[2])
return 1
