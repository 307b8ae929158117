--[[
  Move a batch from one status to another, or say that it may not move: a compare-and-set.

    KEYS[1]  batch          {shard}:batch:<id>     ARGV[1]  id
                                                   ARGV[2]  status to move to
                                                   ARGV[3]  statuses it may have now, separated by spaces
                                                   ARGV[4]  ms to keep it from now on if it is over, else 0
                                                   ARGV[5]  now, ms
                                                   ARGV[6+] fields to write with it: name, value, …
  Returns 'moved' or 'refused'.
]]
local status = redis.call('HGET', KEYS[1], 'status')
if not status or not string.find(' ' .. ARGV[3] .. ' ', ' ' .. status .. ' ', 1, true) then
  return 'refused'
end
redis.call('HSET', KEYS[1], 'status', ARGV[2], ARGV[2] .. 'Ms', ARGV[5], unpack(ARGV, 6))
if ARGV[4] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 'moved'
