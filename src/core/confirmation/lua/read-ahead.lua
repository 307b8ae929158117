--[[
  Read on in a mailbox and take nothing of it: what was committed behind an entry, and whose it is. Workers
  write it: a list that is longer than any honest one is passed over.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  key prefix     ARGV[2]  stream     ARGV[3]  entry     ARGV[4]  most entries
    ARGV[5]  longest list of jobs               ARGV[6]  most words, but for those of the last entry
  Returns { last entry that was read, or "" where none is behind, word, tenant, … }; the tenant is "" where
  there is no such job. Throws what Redis says of a stream that is none.
]]
local stream, longest, most = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local reply = redis.call('XREAD', 'COUNT', ARGV[4], 'STREAMS', stream, ARGV[3])
local entries = reply and reply[1] and reply[1][2] or {}
local last, words, count = '', {}, 0

local function readList(list)
  for word in string.gmatch(list, '%S+') do
    local id = string.match(word, '^[er]:([a-z0-9_]+):')
    if id then
      words[#words + 1] = word
      words[#words + 1] = redis.call('HGET', keys.job(id), 'tenant') or ''
      count = count + 1
    end
  end
end

for _, entry in ipairs(entries) do
  for at = 1, entry[2] and #entry[2] or 0, 2 do
    local name, value = entry[2][at], entry[2][at + 1]
    if name == 'jobs' and #value <= longest then readList(value) end
  end
  last = entry[1]
  if count >= most then break end
end
return { last, unpack(words) }
