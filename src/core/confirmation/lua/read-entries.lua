--[[
  Read entries of a mailbox in the attestors' group. Workers write it: a list that is longer than any honest
  one is answered as empty, and never leaves Redis.

    KEYS[1]  open jobs, for routing in a cluster
    ARGV[1]  stream     ARGV[2]  group            ARGV[3]  consumer     ARGV[4]  most entries
    ARGV[5]  longest list of jobs
    ARGV[6]  "" for new entries; else those that others have held for this long, ms
  Returns a list of { entry, jobs }. Throws what Redis says of a stream that is none.
]]
local stream, group, consumer, most, longest = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local entries
if ARGV[6] == '' then
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', most, 'STREAMS', stream, '>')
  entries = reply and reply[1] and reply[1][2] or {}
else
  entries = redis.call('XAUTOCLAIM', stream, group, consumer, ARGV[6], '0', 'COUNT', most)[2]
end
local rows = {}
for _, entry in ipairs(entries) do
  local row = { entry[1], '' }
  for at = 1, entry[2] and #entry[2] or 0, 2 do
    local name, value = entry[2][at], entry[2][at + 1]
    if name == 'jobs' and #value <= longest then row[2] = value end
  end
  rows[#rows + 1] = row
end
return rows
