--[[
  Move a batch from one status to another, or say that it may not move: a compare-and-set. Who no longer holds
  the batch moves nothing; its owner may ask for its cancellation without holding it.

    KEYS[1]  batch          {shard}:batch:<id>        ARGV[1]  who holds the batch, or "" for its owner
    KEYS[2]  its lease      {shard}:batchlease:<id>   ARGV[2]  status to move to
                                                      ARGV[3]  statuses it may have now, separated by spaces
                                                      ARGV[4]  now, ms
                                                      ARGV[5+] fields to write with it: name, value, …
  Returns 'moved' or 'refused'.
]]
if ARGV[1] ~= '' and redis.call('GET', KEYS[2]) ~= ARGV[1] then return 'refused' end
local status = redis.call('HGET', KEYS[1], 'status')
if not status or not string.find(' ' .. ARGV[3] .. ' ', ' ' .. status .. ' ', 1, true) then
  return 'refused'
end
redis.call('HSET', KEYS[1], 'status', ARGV[2], ARGV[2] .. 'Ms', ARGV[4], unpack(ARGV, 5))
return 'moved'
