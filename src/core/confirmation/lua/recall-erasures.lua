--[[
  Ask again for the erasure of jobs whose records hold what was erased: a Redis that came back older.

    KEYS[1]  erasures   {shard}:erasures    sorted set: jobs that are to be erased
    ARGV[1]  key prefix
    ARGV[2+] per job: id, since when (ms) it is to be erased
  Returns how many there were.
]]
local again = 0
for at = 2, #ARGV, 2 do
  local record = redis.call('GETRANGE', keys.record(ARGV[at]), 0, 199)
  local body = string.match(record, '^1 %a+ %S+ %d+ %S+ %S+ ()')
  -- The bit `erased` of the body, see job-record.ts.
  if body and bit.band(string.byte(record, body) or 0, 64) == 0 then
    redis.call('ZADD', KEYS[1], 'LT', ARGV[at + 1], ARGV[at])
    again = again + 1
  end
end
return again
