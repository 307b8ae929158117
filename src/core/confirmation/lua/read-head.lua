--[[
  Read the head of the log, as of one moment.

    KEYS[1]  log       {shard}:log         ARGV[1]  most entries
    KEYS[2]  tail      {shard}:log:tail    ARGV[2]  a size up to which all are wanted, however many
    KEYS[3]  unsealed  {shard}:unsealed
  Returns {published size, its checkpoint or "", how many entries have their places, the entries after the
  last whole tile of what is published, {job, index, … of the confirmations that are not published}}.
]]
local head = redis.call('HMGET', KEYS[1], 'size', 'checkpoint')
local size = tonumber(head[1] or 0)
local first = size - size % 256
local most = math.max(tonumber(ARGV[1]), tonumber(ARGV[2]) - first)
local tail = redis.call('LRANGE', KEYS[2], 0, most - 1)
local jobs = redis.call('ZRANGE', KEYS[3], size, '(' .. (first + #tail), 'BYSCORE', 'WITHSCORES')
return { size, head[2] or '', first + redis.call('LLEN', KEYS[2]), tail, jobs }
