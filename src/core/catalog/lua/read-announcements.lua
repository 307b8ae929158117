--[[
  Read the announcements of a group, the ones heard of last first. Workers write these keys: what is too long
  stays here, and what is of another type is nobody.

    KEYS[1]  any key that the caller may write, for routing in a cluster
    ARGV[1]  sorted set of the group   ARGV[2]  most announcements   ARGV[3]  most bytes of one
    ARGV[4]  what stands before an id in the key of its announcement
  Returns a list of { id, announcement }.
]]
local rows = {}
local ids = redis.pcall('ZREVRANGE', ARGV[1], 0, tonumber(ARGV[2]) - 1)
if ids.err then return rows end
for _, id in ipairs(ids) do
  if #id <= 64 then
    -- Measured before it is read: a huge one would cost Redis its copy.
    local length = redis.pcall('STRLEN', ARGV[4] .. id)
    if type(length) == 'number' and length > 0 and length <= tonumber(ARGV[3]) then
      rows[#rows + 1] = { id, redis.call('GET', ARGV[4] .. id) }
    end
  end
end
return rows
