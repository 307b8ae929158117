--[[
  Make a batch, unless it is there or too many are open. Those that are open are counted in the step that adds
  one, so that of many who ask at once none gets a place too many.

    KEYS[1]  the batch               {shard}:batch:<id>          ARGV[1]   key prefix
    KEYS[2]  batches of the tenant   {shard}:batches:<tenant>    ARGV[2]   id
    KEYS[3]  open batches of all     {shard}:batches             ARGV[3]   now, ms
                                                                 ARGV[4]   most open batches of the tenant
                                                                 ARGV[5]   most open batches of all
                                                                 ARGV[6]   statuses of what is over, separated
                                                                           by spaces
                                                                 ARGV[7+]  fields: name, value, …
  Returns 'created'; 'known' where it is there; 'full' where the tenant, or the service, has no place.
]]
if redis.call('EXISTS', KEYS[1]) == 1 then return 'known' end
local open = redis.call('ZRANGE', KEYS[3], 0, -1)
if #open >= tonumber(ARGV[5]) then return 'full' end
local own, over = 0, ' ' .. ARGV[6] .. ' '
for _, id in ipairs(open) do
  if redis.call('ZSCORE', KEYS[2], id) then
    local status = redis.call('HGET', keys.batch(id), 'status')
    if status and not string.find(over, ' ' .. status .. ' ', 1, true) then own = own + 1 end
  end
end
if own >= tonumber(ARGV[4]) then return 'full' end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
return 'created'
