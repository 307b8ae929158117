--[[
  Read the announcements of a group: of its enrolled workers, and of others, the ones heard of last first.
  Workers write the sorted set and the announcements: what is too long stays here, and what is of another type
  is nobody. None of them can hide an enrolled worker, neither by taking it off the set nor by filling that
  with names of its own: where the set is full or spoilt, few of it count beside those who are enrolled.

    KEYS[1]  any key that the caller may write, for routing in a cluster
    ARGV[1]  sorted set of the group   ARGV[2]  most announcements   ARGV[3]  most bytes of one
    ARGV[4]  what stands before an id in the key of its announcement
    ARGV[5]  set of the enrolled workers, or ""
  Returns a list of { id, announcement }.
]]
local most = tonumber(ARGV[2])
local fewOthers = 100
local listed = redis.pcall('ZREVRANGE', ARGV[1], 0, most - 1)
local isSpoilt = listed.err or #listed >= most
local rows, seen = {}, {}

local function add(id)
  if seen[id] or #id > 64 or #rows >= most then return end
  seen[id] = true
  -- Measured before it is read: a huge one would cost Redis its copy.
  local length = redis.pcall('STRLEN', ARGV[4] .. id)
  if type(length) == 'number' and length > 0 and length <= tonumber(ARGV[3]) then
    rows[#rows + 1] = { id, redis.call('GET', ARGV[4] .. id) }
  end
end

-- Of a long list of workers most are not there: it is gone through only where the set does not tell.
if ARGV[5] ~= '' and (isSpoilt or redis.call('SCARD', ARGV[5]) <= most) then
  for _, id in ipairs(redis.call('SMEMBERS', ARGV[5])) do add(id) end
end
if not listed.err then
  for at = 1, isSpoilt and ARGV[5] ~= '' and fewOthers or #listed do add(listed[at]) end
end
return rows
