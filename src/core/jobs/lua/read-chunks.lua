--[[
  Read provisional output after a stream id. Workers write it, so its size is bounded before it leaves Redis.

    KEYS[1]  the tenant's index, for routing in a cluster
    ARGV[1]  chunk stream              ARGV[2]  read after this id       ARGV[3]  greatest number of entries
    ARGV[4]  most bytes of one piece   ARGV[5]  most bytes in all
  Returns a flat list: stream id, epoch, worker, number, text, …
]]
local left = tonumber(ARGV[5])
local reply = {}
for _, entry in ipairs(redis.call('XRANGE', ARGV[1], '(' .. ARGV[2], '+', 'COUNT', ARGV[3])) do
  local fields = {}
  for at = 1, #entry[2], 2 do fields[entry[2][at]] = entry[2][at + 1] end
  local text = fields['d'] or ''
  if #text > tonumber(ARGV[4]) then text = '' end
  if #text > left then break end
  left = left - #text
  for _, value in ipairs({ entry[1], fields['e'] or '', fields['w'] or '', fields['n'] or '', text }) do
    reply[#reply + 1] = string.sub(value, 1, tonumber(ARGV[4]))
  end
end
return reply
