--[[
  Remove a key that is not what its users expect: of another type, a count that is none, a text that does not
  expire, a stream that takes no entry any more.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key   ARGV[2]  its type, or 'count' or 'expiring'
    ARGV[3]  how far (ms) a stream's newest entry may be in the future
  Returns what was found and removed, or "".
]]
local found = redis.call('TYPE', ARGV[1]).ok
if found == 'none' then return '' end
local isText = ARGV[2] == 'count' or ARGV[2] == 'expiring'
if found ~= (isText and 'string' or ARGV[2]) then
  redis.call('UNLINK', ARGV[1])
  return found
end
if isText then
  local text = redis.call('GET', ARGV[1])
  local isCount = #text <= 15 and string.find(text, '^%d+$') ~= nil
  if not isCount or (ARGV[2] == 'expiring' and redis.call('PTTL', ARGV[1]) < 0) then
    redis.call('UNLINK', ARGV[1])
    return 'another text'
  end
end
if found ~= 'stream' then return '' end
local info = redis.call('XINFO', 'STREAM', ARGV[1])
for at = 1, #info, 2 do
  if info[at] == 'last-generated-id' then
    local newest = tonumber(string.match(info[at + 1], '^%d+'))
    if newest > redis.call('TIME')[1] * 1000 + tonumber(ARGV[3]) then
      redis.call('UNLINK', ARGV[1])
      return 'a stream that had ended'
    end
  end
end
return ''
